package workspace

import (
	"context"

	"banger/client"
	"banger/internal/treewatch"
	"banger/internal/workspace/live"
	"banger/internal/workspace/partial"
)

// Watcher is a guest that says when something has changed in a directory; client.Guest is one.
type Watcher interface {
	Watch(ctx context.Context, dir string, o client.TreeWatch, each func(client.TreeEvent) error) error
}

// HostSide watches the work tree, but for what git ignores now.
func (w *Workspace) HostSide() live.Side {
	return func(ctx context.Context, changed func()) error {
		ignored, err := w.Repo.IgnoredDirs(ctx)
		if err != nil {
			return err
		}
		o := treewatch.Options{Skip: append([]string{".git"}, ignored...)}
		return treewatch.Watch(ctx, w.Repo.Top(), o, func(treewatch.Event) error { changed(); return nil })
	}
}

// GuestSide watches a directory of a guest, but for the directories that git ignores here: there
// are the same tools at work. changes has what is reported.
func (w *Workspace) GuestSide(g Watcher, dir string, changes *Changes) live.Side {
	return func(ctx context.Context, changed func()) error {
		defer changes.Lost()
		ignored, err := w.Repo.IgnoredDirs(ctx)
		if err != nil {
			return err
		}
		o := client.TreeWatch{Skip: append([]string{".git"}, ignored...)}
		return g.Watch(ctx, dir, o, func(e client.TreeEvent) error {
			changes.Note(partial.Event(e))
			changed()
			return nil
		})
	}
}
