package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"banger/api"
)

// findLeaks has the daemon compare the host with its records. Unlike the doctor's other
// checks, only the daemon can do this.
func (d *examination) findLeaks(ctx context.Context) error {
	c, err := d.a.client()
	if err != nil {
		return err
	}
	found, err := c.Daemon().Leaks(ctx)
	if err != nil {
		return err
	}
	if d.asJSON {
		err = printJSON(d.a.std.out, "", found)
	} else {
		err = printLeaks(d.a.std.out, found)
	}
	if err == nil && len(found.Leaks) > 0 {
		err = statusError(exitFailed)
	}
	return err
}

func printLeaks(w io.Writer, found api.Leaks) error {
	what := fmt.Sprintf("%s compared with %s, in both directions: %s\n", plural(found.Objects, "object"), plural(found.VMs, "VM"), strings.Join(found.Compared, ", "))
	if !slices.Contains(found.Compared, "netns") {
		what = fmt.Sprintf("looked for %s that belong to none of %s; in user mode a VM uses nothing else of the host\n",
			"processes and directories", plural(found.VMs, "VM"))
	}
	if len(found.Leaks) == 0 {
		_, err := fmt.Fprint(w, "no leaks\n"+what)
		return err
	}
	t := newTable("KIND", "NAME", "VM", "LEAK", "WHY")
	for _, l := range found.Leaks {
		leak := "left"
		if l.Missing {
			leak = "missing"
		}
		vm := l.VM
		if vm == "" {
			vm = l.ID
		}
		t.add(l.Kind, l.Name, vm, leak, l.Why)
	}
	if err := t.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s; %s", plural(len(found.Leaks), "leak"), what)
	return err
}
