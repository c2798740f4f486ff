package workspace

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"banger/api"
	"banger/client"
	"banger/internal/faultpoint"
	"banger/internal/host/fsx"
	"banger/internal/workspace/gitrepo"
	"banger/internal/workspace/incoming"
)

// Guest is the inside of a VM; client.Guest is one.
type Guest interface {
	Put(ctx context.Context, path string, tar io.Reader, warnings io.Writer) error
	Tree(ctx context.Context, path string, o client.TreeOptions, each func(client.TreeEntry) error) error
	Fetch(ctx context.Context, dir string, names []string, each func(client.FetchedFile) error) error
}

// Cargo says what is sent to a VM.
type Cargo struct {
	VM        api.VM
	Directory string // in the guest
	User      string // of the guest, to whom Placed gives the files; empty: the image's, or root
	Select    gitrepo.Select
	Git       gitrepo.GitOptions
	// Placed, unless nil, is called when the guest has the files, before they are listed.
	Placed func(context.Context) error
	// Report, unless nil, receives the progress.
	Report api.Report
	// Note, unless nil, receives what the user should know about a path.
	Note func(path, what string)
}

// Sent is what was sent.
type Sent struct {
	Files int
	Bytes int64 // of their contents
}

// Ship sends the work tree to a VM, as it lies, and records the files that the guest then has. It
// refuses if the guest's directory has files that were not sent by an earlier Ship, which was
// interrupted: they would be overwritten.
func (w *Workspace) Ship(ctx context.Context, g Guest, c Cargo) (Sent, error) {
	return w.ship(ctx, g, c, nil)
}

// ship is Ship, or with r ShipOver.
func (w *Workspace) ship(ctx context.Context, g Guest, c Cargo, r *renewal) (Sent, error) {
	earlier, known, err := w.Shipment(c.VM.ID)
	if err != nil {
		return Sent{}, err
	}
	if r == nil && (!known || earlier.Done) {
		if err := w.refuseWork(ctx, g, c); err != nil {
			return Sent{}, err
		}
	}
	snapshot, err := w.Repo.Snapshot(ctx, c.VM.Name, "sent to VM "+c.VM.Name, c.Select)
	if err != nil {
		return Sent{}, w.diskError("make a snapshot", err)
	}
	shipment := Shipment{
		Workspace: w.Repo.Top(), VM: c.VM.ID, Series: c.VM.Name, Directory: c.Directory, User: c.User, Commit: snapshot.ID, Time: time.Now(),
		Ignored: c.Select.IncludeIgnored, Committed: c.Select.Commit,
	}
	put := w.put
	if r != nil {
		shipment.BaseImage, shipment.Prepared, shipment.Features = r.over.Setup.Base, r.over.Setup.Commands, r.over.Setup.Features
		put = r.put(snapshot.ID)
	}
	if err := w.Save(shipment); err != nil {
		return Sent{}, err
	}
	faultpoint.Reach("ship", "begun")
	sent, err := put(ctx, g, c)
	faultpoint.Reach("ship", "sent")
	if err == nil && c.Placed != nil {
		err = c.Placed(ctx)
	}
	if err != nil {
		return Sent{}, err
	}
	faultpoint.Reach("ship", "placed")
	state, err := w.received(ctx, g, c, snapshot.ID)
	if err == nil && r != nil {
		state.Entries = r.known(state.Entries)
	}
	if err == nil {
		err = w.saveState(c.VM.ID, shippedFile, state)
	}
	if err != nil {
		return Sent{}, err
	}
	faultpoint.Reach("ship", "listed")
	shipment.Done = true
	return sent, w.Save(shipment)
}

// Check refuses what Ship cannot send, before there is a VM to send it to.
func (w *Workspace) Check(ctx context.Context, s gitrepo.Select, o gitrepo.GitOptions) error {
	if err := w.Repo.CheckGit(ctx, o); err != nil {
		return err
	}
	_, err := w.Repo.Files(ctx, s)
	return err
}

// refuseWork refuses to send files over those of a guest.
func (w *Workspace) refuseWork(ctx context.Context, g Guest, c Cargo) error {
	there := errors.New("there are files")
	err := g.Tree(ctx, c.Directory, client.TreeOptions{}, func(client.TreeEntry) error { return there })
	switch {
	case errors.Is(err, there):
		return api.Errorf(api.KindConflict, "cannot send the files to VM %s: it has files in %s that did not come from here", c.VM.Name, c.Directory).
			WithHint("banger up --new   makes another VM, and these files stay in this one")
	case api.KindOf(err) == api.KindNotFound:
		return nil
	}
	return err
}

// put sends the files and the guest's own repository.
func (w *Workspace) put(ctx context.Context, g Guest, c Cargo) (Sent, error) {
	selection := c.Select
	selection.Note = c.Note // here alone: a snapshot has the same files, and would say all again
	files, err := w.Repo.Files(ctx, selection)
	if err != nil {
		return Sent{}, err
	}
	return w.pack(ctx, g, c, files)
}

// pack sends some files, and the guest's own repository.
func (w *Workspace) pack(ctx context.Context, g Guest, c Cargo, files []gitrepo.File) (Sent, error) {
	git, err := os.MkdirTemp("", "banger-up-*")
	if err != nil {
		return Sent{}, fsx.DiskError("make the guest's repository", err)
	}
	defer os.RemoveAll(git)
	if err := w.Repo.BuildGit(ctx, git, c.Git); err != nil {
		return Sent{}, err
	}
	p := newProgress(c.Report, files)
	r, to := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := w.Repo.WriteTar(ctx, to, files, gitrepo.TarOptions{
			Prefix: strings.TrimPrefix(c.Directory, "/"), Extra: []string{git}, Note: c.Note, Each: p.file,
		})
		to.CloseWithError(err)
		packed <- err
	}()
	err = g.Put(ctx, "/", r, nil)
	r.CloseWithError(err) // ends the packing, if the guest has stopped reading
	if packErr := <-packed; packErr != nil && !errors.Is(packErr, err) {
		err = packErr
	}
	return Sent{len(files), p.bytes}, err
}

// received lists the files that the guest has now. What changed on the host while it was sent is
// left out, so that its content counts as unknown.
func (w *Workspace) received(ctx context.Context, g Guest, c Cargo, snapshot string) (incoming.State, error) {
	state := incoming.State{Commit: snapshot}
	after, err := w.Repo.Snapshot(ctx, c.VM.Name, "after it was sent to VM "+c.VM.Name, c.Select)
	if err != nil {
		return state, err
	}
	changed, err := w.between(ctx, snapshot, after.ID)
	if err != nil {
		return state, err
	}
	state.Began = time.Now().UnixNano() // a guest's clock follows the host's
	err = directory{guest: g, path: c.Directory}.Tree(ctx, func(e incoming.Entry) error {
		if !changed[e.Path] {
			state.Entries = append(state.Entries, e)
		}
		return nil
	})
	return state, err
}

// between returns the paths in which two commits differ.
func (w *Workspace) between(ctx context.Context, a, b string) (map[string]bool, error) {
	differ := map[string]bool{}
	if a == b {
		return differ, nil
	}
	out, err := w.Repo.Git(ctx, nil, nil, "diff-tree", "-r", "-z", "--name-only", "--no-renames", a, b)
	for name := range strings.SplitSeq(string(out), "\x00") {
		if name != "" {
			differ[name] = true
		}
	}
	return differ, err
}
