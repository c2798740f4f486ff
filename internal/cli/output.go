package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"banger/api"
	"banger/internal/size"

	"github.com/spf13/cobra"
)

// addJSON gives a command the flag --json.
func addJSON(cmd *cobra.Command, on *bool) {
	cmd.Flags().BoolVar(on, "json", false, "print JSON, a versioned format for programs")
}

// printJSON writes {"format": 1, key: v}, or if key is empty {"format": 1, …} with the
// fields of v, which must then be an object.
func printJSON(w io.Writer, key string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	line := fmt.Appendf(nil, `{"format":%d,%q:%s}`, api.Version, key, body)
	if key == "" {
		line = fmt.Appendf(nil, `{"format":%d,%s`, api.Version, body[1:])
	}
	if err := json.Indent(&out, line, "", "  "); err != nil {
		return err
	}
	out.WriteByte('\n')
	_, err = w.Write(out.Bytes())
	return err
}

// table holds rows of cells that are printed as aligned columns.
type table struct{ rows [][]string }

func newTable(header ...string) *table { return &table{rows: [][]string{header}} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write prints aligned columns, separated by two spaces.
func (t *table) write(w io.Writer) error {
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			cell = strings.NewReplacer("\n", " ", "\t", " ").Replace(printable(cell))
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fields prints a table of names and values, without a header.
func fields(w io.Writer, pairs ...string) error {
	t := &table{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			t.add(pairs[i]+":", pairs[i+1])
		}
	}
	if len(t.rows) == 0 {
		return nil
	}
	return t.write(w)
}

// ago returns roughly how long ago t was.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(now.Sub(t)) + " ago"
}

// span rounds a duration to its largest unit.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return plural(int(d.Seconds()), "second")
	case d < time.Hour:
		return plural(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		return plural(int(d.Hours()), "hour")
	default:
		return plural(int(d.Hours()/24), "day")
	}
}

func plural(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// short returns the beginning of a digest, enough to recognize it.
func short(digest string) string {
	_, hex, found := strings.Cut(digest, ":")
	if !found {
		hex = digest
	}
	return hex[:min(12, len(hex))]
}

// names formats the names of an image or a kernel.
func names(all []string) string {
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ", ")
}

// users formats what uses an image or a kernel: the names of VMs, and snapshots.
func users(all []string) string {
	switch len(all) {
	case 0:
		return "-"
	case 1, 2:
		return strings.Join(all, ", ")
	}
	if n := len(slices.DeleteFunc(slices.Clone(all), isSnapshot)); n < len(all) {
		return plural(n, "VM") + ", " + plural(len(all)-n, "snapshot")
	}
	return plural(len(all), "VM")
}

// isSnapshot tells a snapshot from VMs, whose names have no spaces.
func isSnapshot(user string) bool { return strings.HasPrefix(user, api.SnapshotUser) }

// printMade prints the name of the image that was made.
func (s *streams) printMade(names []string, digest string) error {
	name := digest
	if len(names) > 0 {
		name = names[0]
	}
	_, err := fmt.Fprintln(s.out, name)
	return err
}

// prune prunes, with its progress, and prints what was removed.
func (s *streams) prune(ctx context.Context, prune func(context.Context, api.Report) (api.Pruned, error), asJSON bool) error {
	p := s.newProgress()
	pruned, err := prune(ctx, p.report)
	p.done()
	if err != nil {
		return err
	}
	return s.printPruned(pruned, asJSON)
}

// printPrunable prints what a prune would remove.
func (s *streams) printPrunable(pruned api.Pruned, asJSON bool) error {
	if asJSON {
		return printJSON(s.out, "prunable", pruned)
	}
	t := newTable("SIZE", "WOULD BE DELETED")
	for _, item := range pruned.Items {
		t.add(size.Format(item.Bytes), item.Name)
	}
	if len(pruned.Items) > 0 {
		if err := t.write(s.out); err != nil {
			return err
		}
	}
	s.note("would remove %d, and free %s; nothing was touched", len(pruned.Items), size.Format(pruned.ReclaimedBytes))
	return nil
}

// printPruned prints what a prune has removed.
func (s *streams) printPruned(pruned api.Pruned, asJSON bool) error {
	if pruned.Removed == nil {
		pruned.Removed = []string{}
	}
	if asJSON {
		return printJSON(s.out, "pruned", pruned)
	}
	for _, name := range pruned.Removed {
		if _, err := fmt.Fprintln(s.out, printable(name)); err != nil {
			return err
		}
	}
	s.note("removed %d, freed %s", len(pruned.Removed), size.Format(pruned.ReclaimedBytes))
	return nil
}
