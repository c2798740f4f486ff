package incoming

import (
	"context"
	"fmt"
	"strings"

	"banger/api"
)

// makeTree makes the tree of the guest's state, by an index that begins as the shipped
// snapshot's.
func (i *importer) makeTree(ctx context.Context) error {
	if len(i.changed) == 0 {
		return nil
	}
	if _, err := i.git(ctx, "", "read-tree", i.Shipped.Commit); err != nil {
		return err
	}
	var removed, filtered []string
	for _, c := range i.changed {
		switch {
		case c.mode == "":
			removed = append(removed, fmt.Sprintf("0 %s\t%s", strings.Repeat("0", len(i.result.Tree)), c.entry.Path))
		case c.id == "" && !isRaw(c):
			filtered = append(filtered, c.entry.Path)
		}
	}
	if err := i.updateIndex(ctx, removed); err != nil {
		return err
	}
	unfiltered, err := i.addFiltered(ctx, filtered)
	if err != nil {
		return err
	}
	if err := i.addRaw(ctx, unfiltered); err != nil {
		return err
	}
	out, err := i.git(ctx, "", "write-tree")
	i.result.Tree = strings.TrimSpace(string(out))
	return err
}

// updateIndex feeds lines to git update-index --index-info.
func (i *importer) updateIndex(ctx context.Context, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	_, err := i.git(ctx, strings.Join(lines, "\x00")+"\x00", "update-index", "--add", "--replace", "-z", "--index-info")
	return err
}

// addFiltered adds files of work to the index as git add does: with the filters and line ends
// that the attributes say. work has no .gitattributes file, so that git takes those of the
// index, which are still the shipped snapshot's (read_attr in git's attr.c). It returns the
// files whose filter failed.
func (i *importer) addFiltered(ctx context.Context, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	_, err := i.git(ctx, strings.Join(names, "\x00")+"\x00", "--work-tree="+i.quarantine.path("work"), "update-index", "--add", "--replace", "-z", "--stdin")
	switch {
	case err == nil:
		return nil, nil
	case ctx.Err() != nil, api.KindOf(err) == api.KindNoSpace:
		return nil, err
	case len(names) == 1:
		i.warn(names[0], "its content is imported as it is: git cannot convert it: "+firstLine(err))
		return names, nil
	}
	first, err := i.addFiltered(ctx, names[:len(names)/2])
	if err != nil {
		return nil, err
	}
	second, err := i.addFiltered(ctx, names[len(names)/2:])
	return append(first, second...), err
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// addRaw adds to the index what is known already and what no filter applies to.
func (i *importer) addRaw(ctx context.Context, unfiltered []string) error {
	plain := map[string]bool{}
	for _, name := range unfiltered {
		plain[name] = true
	}
	var hashed []*change
	var paths strings.Builder
	places := i.places()
	for _, c := range i.changed {
		if c.mode != "" && c.id == "" && (isRaw(c) || plain[c.entry.Path]) {
			hashed = append(hashed, c)
			paths.WriteString(quote(places[c.entry.Path]) + "\n")
		}
	}
	if len(hashed) > 0 {
		out, err := i.git(ctx, paths.String(), "hash-object", "-w", "--no-filters", "--stdin-paths")
		if err != nil {
			return err
		}
		ids := strings.Fields(string(out))
		if len(ids) != len(hashed) {
			return api.Errorf(api.KindInternal, "git hash-object returned %d names of %d objects", len(ids), len(hashed))
		}
		for n, c := range hashed {
			c.id = ids[n]
		}
	}
	var lines []string
	for _, c := range i.changed {
		if c.id != "" {
			lines = append(lines, fmt.Sprintf("%s %s\t%s", c.mode, c.id, c.entry.Path))
		}
	}
	return i.updateIndex(ctx, lines)
}
