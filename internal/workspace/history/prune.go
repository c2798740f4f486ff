package history

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Prune removes the oldest names of former commits of a VM's branches, of which keep stay, and
// returns them.
func Prune(ctx context.Context, repo Repo, vm string, keep int) ([]string, error) {
	f := &fetch{repo: repo, Request: Request{VM: vm}}
	named, err := f.list(ctx, f.formerRef(""))
	if err != nil {
		return nil, err
	}
	var numbers []int
	for name := range maps.Keys(named) {
		if n, err := strconv.Atoi(name); err == nil && strconv.Itoa(n) == name {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	var commands strings.Builder
	var removed []string
	for _, n := range numbers[:max(0, len(numbers)-keep)] {
		ref := f.formerRef(strconv.Itoa(n))
		fmt.Fprintf(&commands, "delete %s %s\n", ref, named[strconv.Itoa(n)].id)
		removed = append(removed, ref)
	}
	return removed, f.update(ctx, commands.String())
}
