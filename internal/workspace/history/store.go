package history

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"banger/api"
)

// read reads what came, what was there, and the former commits that have names.
func (f *fetch) read(ctx context.Context) (err error) {
	if f.came, err = f.list(ctx, f.incoming("")); err != nil {
		return err
	}
	if f.had, err = f.list(ctx, f.taken("")); err != nil {
		return err
	}
	delete(f.had, "HEAD") // the user's: none is taken
	named, err := f.list(ctx, f.formerRef(""))
	f.former = map[string]string{}
	for number, at := range named {
		if n, err := strconv.Atoi(number); err == nil {
			f.last = max(f.last, n)
			f.former[at.id] = number
		}
	}
	return err
}

// compare finds out which branches differ.
func (f *fetch) compare(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(f.came)) {
		b := Branch{Name: name, Ref: f.taken(name), Old: f.had[name].id, New: f.came[name].id}
		if b.Old == b.New {
			continue
		}
		out, err := f.reachable(ctx, "--count", b.New, f.incoming("*"))
		if err != nil {
			return err
		}
		if b.Commits, err = strconv.Atoi(out); err != nil {
			return api.Errorf(api.KindInternal, "git rev-list answered %.100q", out)
		}
		f.result.Branches = append(f.result.Branches, b)
	}
	for _, name := range slices.Sorted(maps.Keys(f.had)) {
		if _, there := f.came[name]; !there {
			f.result.Branches = append(f.result.Branches, Branch{Name: name, Ref: f.taken(name), Old: f.had[name].id})
		}
	}
	return nil
}

// reachable is git rev-list of a commit, without what any reference or HEAD leads to, but for
// those that match the pattern.
func (f *fetch) reachable(ctx context.Context, how, commit, except string) (string, error) {
	out, err := f.repo.Git(ctx, nil, nil, "rev-list", how, commit, "--not", "--exclude="+except, "--all")
	return strings.TrimSpace(string(out)), err
}

// store changes the references: first the names of what is replaced, then removals, which may be
// in the way of new ones, and last what is new.
func (f *fetch) store(ctx context.Context) error {
	var refused, names, removals, updates, cleanup strings.Builder
	for _, r := range f.result.Refused {
		fmt.Fprintf(&refused, "delete %s\n", f.incoming(r.Name))
	}
	// What only a refused branch leads to counts as lost.
	if err := f.update(ctx, refused.String()); err != nil {
		return err
	}
	for i := range f.result.Branches {
		b := &f.result.Branches[i]
		if err := f.nameFormer(ctx, b, &names); err != nil {
			return err
		}
		switch {
		case b.New == "":
			fmt.Fprintf(&removals, "delete %s %s\n", b.Ref, b.Old)
		case b.Old == "":
			fmt.Fprintf(&updates, "create %s %s\n", b.Ref, b.New)
		default:
			fmt.Fprintf(&updates, "update %s %s %s\n", b.Ref, b.New, b.Old)
		}
	}
	for name := range f.came {
		fmt.Fprintf(&cleanup, "delete %s\n", f.incoming(name))
	}
	for _, commands := range []string{names.String(), removals.String(), updates.String(), cleanup.String()} {
		if err := f.update(ctx, commands); err != nil {
			return err
		}
	}
	return nil
}

// nameFormer names the commit that a branch leaves, if nothing else leads to it.
func (f *fetch) nameFormer(ctx context.Context, b *Branch, commands *strings.Builder) error {
	if b.Old == "" {
		return nil
	}
	if number, named := f.former[b.Old]; named {
		b.Former = f.formerRef(number)
		return nil
	}
	only, err := f.reachable(ctx, "--max-count=1", b.Old, f.taken("*"))
	if err != nil || only == "" {
		return err
	}
	f.last++
	number := strconv.Itoa(f.last)
	f.former[b.Old], b.Former = number, f.formerRef(number)
	fmt.Fprintf(commands, "create %s %s\n", b.Former, b.Old)
	return nil
}

// update carries out commands of git update-ref --stdin, all or none.
func (f *fetch) update(ctx context.Context, commands string) error {
	if commands == "" {
		return nil
	}
	_, err := f.repo.Git(ctx, nil, strings.NewReader(commands), "update-ref", "--no-deref", "--stdin")
	return err
}
