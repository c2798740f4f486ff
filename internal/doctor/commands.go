package doctor

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"banger/api"
	"banger/internal/commands"
	"banger/internal/host/execx"
)

// commandLinks checks the links by which the installation is on PATH. Programs that were not installed have none.
func commandLinks(_ context.Context, h Host) []api.Check {
	if h.Bin == "" {
		return nil
	}
	c := Check{Name: "commands", Why: "you and your scripts type banger, and git starts git-remote-banger for a URL such as banger::VM"}
	wrong := commands.Unlinked(h.Bin, commands.Names)
	if len(wrong) == 0 {
		return []api.Check{report(c, ok(fmt.Sprintf("%s in %s", strings.Join(commands.Names, ", "), h.Bin)))}
	}
	var found, fixes []string
	for _, l := range wrong {
		path := filepath.Join(h.Bin, l.Name)
		if l.State == commands.Missing {
			found = append(found, path+" is missing")
		} else {
			found = append(found, path+" is not a link to this banger")
		}
		fixes = append(fixes, relink(h, path, l.State))
	}
	return []api.Check{report(c, Finding{Status: Warn, Found: strings.Join(found, "; "), Fix: strings.Join(fixes, " && ")})}
}

// relink returns what to type to have the link at a path. What is there is moved away.
func relink(h Host, path string, state commands.State) string {
	sudo := ""
	if h.System != nil {
		sudo = "sudo "
	}
	link := fmt.Sprintf("%sln -s %s %s", sudo, commands.Target, execx.Word(path))
	if state == commands.Missing {
		return link
	}
	return fmt.Sprintf("%smv %s %s && %s", sudo, execx.Word(path), execx.Word(path+".other"), link)
}
