package gitrepo

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestKinds: whatever a repository is like, what ships and what is in a snapshot is what lies
// there; in the guest git says the same of it as here; and nothing of the user's changes.
func TestKinds(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			dir := k.make(t)
			r := open(t, dir)
			want := onDisk(t, dir)
			unchanged(t, dir, "shipping", func() { k.ships(t, r, want) })
			if k.inGit != nil {
				k.inGit(want)
			}
			unchanged(t, dir, "a snapshot", func() { k.snapshots(t, r, want) })
			unchanged(t, dir, "pruning", func() {
				if _, err := r.Prune(t.Context(), "dev", 1, nil); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// ships checks the stream, and the repository in it.
func (k kind) ships(t *testing.T, r *Repo, want contents) {
	guest, got := ship(t, r, Select{}, GitOptions{})
	compare(t, "the stream", got, want)
	compare(t, "the guest", onDisk(t, guest), want)
	differs := k.guest
	if differs == nil {
		differs = status(t, r.Top())
	}
	if there := status(t, guest); !slices.Equal(there, differs) {
		t.Errorf("git in the guest says that these changed: %q, want %q", there, differs)
	}
	checkFresh(t, r, guest)
}

// checkFresh looks at the repository of a guest.
func checkFresh(t *testing.T, r *Repo, guest string) {
	t.Helper()
	git(t, guest, "fsck", "--strict", "--no-dangling")
	for _, args := range [][]string{{"rev-parse", "HEAD"}, {"symbolic-ref", "-q", "HEAD"}, {"rev-parse", "--show-object-format"}} {
		want, wantErr := tryGit(r.Top(), args...)
		got, err := tryGit(guest, args...)
		if got != want || (err == nil) != (wantErr == nil) {
			t.Errorf("git %v is %q (%v) in the guest, want %q (%v)", args, got, err, want, wantErr)
		}
	}
	// Every directory that tests of this process make has this in its path.
	base := []byte(filepath.Dir(filepath.Dir(t.TempDir())))
	must(t, filepath.WalkDir(guest, func(file string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(guest, file)
		if err != nil || d.IsDir() || !slices.Contains(strings.Split(name, "/"), ".git") {
			return err
		}
		data, err := os.ReadFile(file)
		if bytes.Contains(data, base) {
			t.Errorf("%s has a path of the host: %.300q", name, data)
		}
		if strings.Contains(name, "/hooks/") || strings.HasSuffix(name, "/alternates") || strings.Contains(name, "/logs/") || d.Type()&fs.ModeSymlink != 0 {
			t.Errorf("the guest's repository has %s", name)
		}
		return err
	}))
}

func (k kind) snapshots(t *testing.T, r *Repo, want contents) {
	ctx := context.Background()
	first, err := r.Snapshot(ctx, "dev", "first\n\nwith a body", Select{})
	must(t, err)
	compare(t, "the snapshot", inCommit(t, r.Top(), r.env, first.ID), want)
	if first.N != 1 || first.Ref != "refs/banger/dev/1" || first.Message != "first\n\nwith a body" || first.Time.IsZero() {
		t.Errorf("the snapshot is %+v", first)
	}
	again, err := r.Snapshot(ctx, "dev", "again", Select{})
	must(t, err)
	if again != first {
		t.Errorf("nothing changed, and the snapshot is %+v, was %+v", again, first)
	}
	recorded, err := r.Record(ctx, "dev", first.ID)
	must(t, err)
	all, err := r.Snapshots(ctx, "dev")
	must(t, err)
	second := first
	second.N, second.Ref = recorded, "refs/banger/dev/2"
	if !slices.Equal(all, []Commit{first, second}) {
		t.Errorf("the series is %+v, recorded was %d", all, recorded)
	}
	parent, err := tryGit(r.Top(), "rev-parse", "-q", "--verify", "HEAD")
	if err == nil && git(t, r.Top(), "rev-parse", first.ID+"^") != parent {
		t.Error("the snapshot is not below HEAD")
	}
}
