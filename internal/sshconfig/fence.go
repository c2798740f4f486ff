package sshconfig

import (
	"bytes"
	"strings"

	"banger/api"
)

// The lines around ours. The second beginning says that there was no file before:
// then it goes with its last line.
const (
	begin     = "# BEGIN banger (banger ssh-config --uninstall takes this out)\n"
	beginMade = "# BEGIN banger, which made this file (banger ssh-config --uninstall takes this out)\n"
	end       = "# END banger\n"
)

// maxConfig is more than any configuration has.
const maxConfig = 1 << 20

// fenced is a configuration, taken apart.
type fenced struct {
	rest  []byte // without our lines
	there bool   // our lines were in it
	made  bool   // we made the file
}

// take takes our lines out of a configuration. What does not look as it was left
// is refused.
func take(config []byte) (fenced, error) {
	if len(config) > maxConfig || bytes.IndexByte(config, 0) >= 0 {
		return fenced{}, api.Errorf(api.KindInvalid, "it is no configuration of ssh")
	}
	f := fenced{rest: make([]byte, 0, len(config))}
	lines := bytes.SplitAfter(config, []byte("\n"))
	for i := 0; i < len(lines); i++ {
		line := string(lines[i])
		if !mark(line) {
			f.rest = append(f.rest, lines[i]...)
			continue
		}
		if f.there || line != begin && line != beginMade || i+2 >= len(lines) ||
			!strings.HasPrefix(string(lines[i+1]), "Include ") || string(lines[i+2]) != end {
			return fenced{}, api.Errorf(api.KindConflict, "line %d, or what belongs to it, is not as banger left it", i+1).
				WithHint("take the lines between BEGIN banger and END banger out by hand")
		}
		f.there, f.made = true, line == beginMade
		i += 2
	}
	return f, nil
}

// mark says whether a line is, or was meant to be, one of those around ours.
func mark(line string) bool {
	line = strings.TrimSpace(line)
	return strings.HasPrefix(line, "# BEGIN banger") || strings.HasPrefix(line, "# END banger")
}

// put puts our lines at the top: what follows a Host line counts for that host
// alone (ssh_config(5), Include).
func put(rest []byte, include string, made bool) []byte {
	first := begin
	if made {
		first = beginMade
	}
	return append([]byte(first+"Include \""+include+"\"\n"+end), rest...)
}
