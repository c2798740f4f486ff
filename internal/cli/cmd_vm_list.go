package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"banger/api"
	"banger/internal/label"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

func newVMList(a *app) *cobra.Command {
	l := vmList{a: a, none: "no VMs; `banger vm run` makes one"}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List all VMs",
		Long:    "List all VMs, oldest first.\n\n" + listHelp,
		Example: `  banger vm list
  banger vm list --json
  banger vm list -q
  banger vm list --wide
  banger vm list --filter state=stopped --filter label=team=web
  banger vm list --format '{{.name}} {{.memory_bytes}}'`,
		Args: noArgs,
		RunE: l.run,
	}
	l.flags(cmd)
	return cmd
}

// listHelp is what the help of `vm list` and `ps` says about their flags.
const listHelp = `--filter KEY=VALUE lists fewer, with --json too. The keys are name, state, image,
driver and label; in the first four * stands for any text. label=KEY=VALUE wants that
label, label=KEY any value of it. Several filters all apply, but of those with the same
key other than label one is enough.

--format prints a line for each VM: a template of Go (pkg.go.dev/text/template) over
the fields that --json shows, such as {{.name}} or {{index .labels "team"}}. Its
functions include json and join.

The table has columns for addresses and published ports if a VM in it has some;
--wide adds ids, drivers, labels and all ports.`

// vmList is one `vm list` or `ps`.
type vmList struct {
	a                          *app
	running                    bool   // list only those that run, unless asked for more
	none                       string // is printed if there is none
	asJSON, quietly, wide, all bool
	filters                    []string
	format                     string
}

func (l *vmList) flags(cmd *cobra.Command) {
	addJSON(cmd, &l.asJSON)
	f := cmd.Flags()
	f.BoolVarP(&l.quietly, "quiet", "q", false, "print names only")
	f.BoolVarP(&l.wide, "wide", "w", false, "also show ids, drivers, labels and all ports")
	f.StringArrayVarP(&l.filters, "filter", "f", nil, "list only those with that `KEY=VALUE`: name, state, image, driver, label; may be repeated")
	f.StringVar(&l.format, "format", "", "print each by a `TEMPLATE`, such as '{{.name}}'")
	all := "list also those that do not run"
	if !l.running {
		all = "list all, as without it"
	}
	f.BoolVarP(&l.all, "all", "a", false, all)
	// It fails only for an unknown flag, which TestEveryCommand would show.
	_ = cmd.RegisterFlagCompletionFunc("filter", completeFilter)
}

// exclusive refuses two forms of output at once.
func (l *vmList) exclusive(cmd *cobra.Command) error {
	var given []string
	for _, name := range []string{"json", "quiet", "wide", "format"} {
		if cmd.Flags().Changed(name) {
			given = append(given, "--"+name)
		}
	}
	if len(given) > 1 {
		return usagef(cmd, "%s exclude each other", strings.Join(given, " and "))
	}
	return nil
}

func (l *vmList) run(cmd *cobra.Command, _ []string) error {
	if err := l.exclusive(cmd); err != nil {
		return err
	}
	filter, err := parseFilters(l.filters)
	if err != nil {
		return &usageError{err: err, command: cmd.CommandPath()}
	}
	var lines *lineFormat
	if cmd.Flags().Changed("format") {
		if lines, err = parseFormat(l.format); err != nil {
			return &usageError{err: err, command: cmd.CommandPath()}
		}
	}
	c, err := l.a.client()
	if err != nil {
		return err
	}
	vms, err := c.VMs().List(cmd.Context())
	if err != nil {
		return err
	}
	running := l.running && !l.all && !filter.has("state")
	vms = slices.DeleteFunc(vms, func(vm api.VM) bool { return running && !runs(vm) || !filter.matches(vm) })
	if lines != nil {
		return lines.write(l.a.std.out, vms)
	}
	return l.print(vms)
}

// runs reports whether `ps` lists a VM.
func runs(vm api.VM) bool { return vm.State == api.StateRunning || vm.State == api.StatePaused }

func (l *vmList) print(vms []api.VM) error {
	std := l.a.std
	switch {
	case l.asJSON:
		return printJSON(std.out, "vms", append([]api.VM{}, vms...))
	case l.quietly:
		for _, vm := range vms {
			if _, err := fmt.Fprintln(std.out, vm.Name); err != nil {
				return err
			}
		}
		return nil
	case len(vms) == 0 && len(l.filters) > 0:
		std.note("no VM matches")
		return nil
	case len(vms) == 0:
		std.note("%s", l.none)
		return nil
	}
	if err := vmTable(vms, time.Now(), l.wide).write(std.out); err != nil {
		return err
	}
	for _, vm := range vms {
		if vm.Reason != "" && runs(vm) {
			std.note("VM %s: %s", vm.Name, vm.Reason)
		}
	}
	return nil
}

// column is one of the table of VMs.
type column struct {
	header string
	cell   func(vm api.VM) string // "" for nothing
}

// vmTable has what fits in 80 columns, addresses and ports if there are some, and the rest if wide.
func vmTable(vms []api.VM, now time.Time, wide bool) *table {
	columns := []column{
		{"NAME", func(vm api.VM) string { return vm.Name }},
		{"STATE", func(vm api.VM) string { return string(vm.State) }},
		{"SINCE", func(vm api.VM) string { return since(vm, now) }},
		{"VCPUS", func(vm api.VM) string { return strconv.Itoa(vm.VCPUs) }},
		{"MEMORY", func(vm api.VM) string { return size.Format(vm.MemoryBytes) }},
		{"DISK", diskSize},
		{"IMAGE", func(vm api.VM) string { return vm.Image }},
		{"ACCEL", func(vm api.VM) string { return vm.Accel }},
	}
	if wide {
		columns = append(columns,
			column{"DRIVER", func(vm api.VM) string { return vm.Driver }},
			column{"ID", func(vm api.VM) string { return vm.ID }})
	}
	some := []column{
		{"ADDRESS", func(vm api.VM) string { return vm.Address }},
		{"PORTS", func(vm api.VM) string { return publishedCell(vm.Publish, wide) }},
	}
	if wide {
		some = append(some, column{"LABELS", func(vm api.VM) string { return label.Text(vm.Labels) }})
	}
	for _, c := range some {
		if slices.ContainsFunc(vms, func(vm api.VM) bool { return c.cell(vm) != "" }) {
			columns = append(columns, c)
		}
	}
	var header []string
	for _, c := range columns {
		header = append(header, c.header)
	}
	t := newTable(header...)
	for _, vm := range vms {
		var cells []string
		for _, c := range columns {
			cells = append(cells, cmp.Or(c.cell(vm), "-"))
		}
		t.add(cells...)
	}
	return t
}

// mostPorts is how many ports of a VM the table shows unless it is wide.
const mostPorts = 2

// publishedCell returns ports as they are given to --publish: without the address that is the default.
func publishedCell(ports []api.PublishedPort, all bool) string {
	var texts []string
	for i, p := range ports {
		if i == mostPorts && !all {
			texts = append(texts, fmt.Sprintf("+%d", len(ports)-i))
			break
		}
		texts = append(texts, strings.TrimPrefix(p.String(), "127.0.0.1:"))
	}
	return strings.Join(texts, " ")
}

// diskSize is unknown while the image that determines it is being fetched.
func diskSize(vm api.VM) string {
	if vm.DiskSize() == 0 {
		return "-"
	}
	return size.Format(vm.DiskSize())
}

// since returns when the VM entered its state, as far as known.
func since(vm api.VM, now time.Time) string {
	at := vm.CreatedAt
	switch {
	case vm.State == api.StateRunning && vm.StartedAt != nil:
		at = *vm.StartedAt
	case (vm.State == api.StateStopped || vm.State == api.StateSuspended) && vm.StoppedAt != nil:
		at = *vm.StoppedAt
	}
	return ago(now, at)
}
