package workspace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"

	"banger/internal/workspace/objects"
	"banger/internal/workspace/setups"
)

// Setups are those of the workspace that have run to their end.
func (w *state) Setups() setups.Store { return SetupsIn(w.dir) }

// SetupsIn are those of the workspace whose state is in a directory.
func SetupsIn(state string) setups.Store { return setups.In(filepath.Join(state, "setups")) }

// SetupID names the setup of a key. Two workspaces have no name in common, so that neither takes
// the other's image for its own.
func (w *Workspace) SetupID(key string) string {
	sum := sha256.Sum256([]byte(filepath.Base(w.dir) + " " + key))
	return hex.EncodeToString(sum[:6])
}

// BeginSetup records the setup that has run in the VM of a shipment, before an image is made of that.
func (w *Workspace) BeginSetup(ctx context.Context, s Shipment, setup setups.Setup) error {
	tree, err := objects.Tree(ctx, w.Repo, s.Commit)
	if err != nil {
		return err
	}
	files := setups.Files{Tree: tree}
	if shipped := w.loadState(s.VM, shippedFile); shipped.Commit == s.Commit {
		files.Entries = shipped.Entries // without them, all is sent again
	}
	return w.Setups().Begin(setup, files)
}
