package client

import (
	"context"

	"banger/internal/treewatch"
)

// TreeWatch says what Watch watches. The zero value watches everything.
type TreeWatch struct {
	// Skip are directories that are not watched, with all that is in them: names such as .git,
	// wherever they are, and paths, which have a slash, such as /build or web/dist.
	Skip []string
}

// TreeEvent says what may have changed in a directory of a guest. A guest can say anything: only
// the form of Dirs is checked.
type TreeEvent struct {
	// Ready means that all directories are watched from now on: what changed before is for a
	// scan. It is set once, in the first event.
	Ready bool
	// Dirs are the directories in which something changed: relative, with slashes, sorted; "." is
	// the top. A directory that is new, or was renamed, is among them with all in it, and so may
	// be one that is gone. There are 4096 at most: if more of them changed, All is set.
	Dirs []string
	// All means that anything may have changed.
	All bool
	// Reason is why not all directories are watched: changes in the others are in no event. All
	// is then set in each. It is empty in the first event after which all of them are.
	Reason string
}

// Watch watches a directory of the guest, at any depth, and calls each with what changed, until
// ctx ends or each returns an error, which is returned. It follows no symbolic links below the
// directory. What changes at about the same time is one event, which comes 30 to 200 ms later.
//
// A restart of the daemon does not end it, and no event is lost then. It ends with an error of kind
// not_found if the directory is renamed or removed, or the VM deleted or restarted, of kind
// conflict if the VM is stopped, and of kind timeout if the connection to the guest breaks and is
// not restored within a minute. Whoever continues then begins with a scan.
func (g *Guest) Watch(ctx context.Context, dir string, o TreeWatch, each func(TreeEvent) error) error {
	return g.agent.Watch(ctx, dir, treewatch.Options(o), func(e treewatch.Event) error { return each(TreeEvent(e)) })
}
