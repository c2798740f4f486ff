// Package treesync makes a work tree of this host and the one of its guest the same, in one pass.
//
// It compares both with the state in which they agreed last. What one side changed is brought to
// the other; what both changed differently is a conflict, and stays on both. Every version is in a
// commit before it is replaced, and a file that is not any more what was looked at is not replaced:
// the next pass sees it.
package treesync

import (
	"context"
	"errors"
	"io"
	"iter"

	"banger/internal/faultpoint"
	"banger/internal/workspace/apply"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/objects"
)

// Repo is the host's repository.
type Repo = incoming.Repo

// Guest is a directory of a guest.
type Guest interface {
	incoming.Guest
	// Place changes paths of the directory, in the order of the changes, and calls each once for
	// each of them. A path that is not as it is expected stays. An error of Place itself says
	// nothing about the paths for which each was not called.
	Place(ctx context.Context, changes iter.Seq[Change], each func(Placed) error) error
}

// Change is what one path of the guest is to be.
type Change struct {
	Path string
	// Expect is what the path was when it was listed, without a type if nothing was there.
	Expect incoming.Entry
	Type   string // incoming.TypeFile or TypeLink; "" removes the path
	Mode   uint32 // permissions of a file
	Size   int64  // of the content, in bytes
	Link   string // the target
	// Open opens the content of a file. Who opens it closes it.
	Open func() (io.ReadCloser, error)
}

// Placed is what became of a Change.
type Placed struct {
	Path  string
	Entry incoming.Entry // as it is now, without a type if it was removed
	// Err says why nothing was done: of kind api.KindConflict if the path was not as expected.
	Err error
}

// Request says what is to be made the same.
type Request struct {
	// Base is the commit in which both sides agreed last.
	Base string
	// Pending is what a pass that did not come to its end was writing, nil if the last one did.
	Pending *Pending
	// Begin records, before the first write, what is going to be written, and the commit in which
	// both sides agree until then.
	Begin func(base string, p Pending) error
	// Guest is the import of the guest's files, just now.
	Guest incoming.Result
	// Shipped is the commit upon which new ones are made.
	Shipped string
	// Included reports of a path that git ignores whether it is synced all the same.
	Included func(path string) bool
	// Snapshot records the work tree and returns the commit.
	Snapshot func(ctx context.Context) (string, error)
	// Record names a commit that exists.
	Record func(ctx context.Context, commit string) error
	// About is the message of a commit; what says what it is of.
	About func(what string) string
	// Dir is a directory of banger's for this work tree and guest.
	Dir string
	// Keep says which side's version is brought to the other if both changed: Host or Guest, or
	// "" for neither.
	Keep string
}

// Pending are the snapshots of a pass that writes: what each side has that the other one gets.
type Pending struct{ Host, Guest string }

// The sides, for Request.Keep.
const (
	KeepHost  = "host"
	KeepGuest = "guest"
)

// Conflict is a path that stays as it is on both sides, and why. The commits have the versions.
type Conflict struct{ Path, Reason, Host, Guest string }

// Result is what one pass did.
type Result struct {
	// Base is the commit in which both sides agree now.
	Base string
	// Host is the snapshot of the work tree before the pass, "" if nothing was planned, and Last the guest's state after it.
	Host string
	Last incoming.State
	// ToGuest and ToHost are the paths that were written or removed there, sorted.
	ToGuest, ToHost []string
	Conflicts       []Conflict // sorted by path
	// Recorded is set if Base says all that was done. Otherwise it is still pending.
	Recorded bool
	// Agreed is how many paths had changed and are the same on both sides now.
	Agreed int
	// Again is set if something changed meanwhile, so that another pass has work.
	Again    bool
	Warnings []incoming.Warning
}

// Run makes one pass. After an error, too, the result is what has been done.
func Run(ctx context.Context, repo Repo, guest Guest, r Request) (Result, error) {
	p := &pass{Request: r, repo: repo, guest: guest, looked: map[string]bool{}}
	p.result.Base = r.Base
	p.result.Last = r.Guest.State
	var err error
	if p.host, err = apply.Begin(ctx, repo, r.Dir); err != nil {
		return p.result, err
	}
	defer p.host.Close()
	for planned := false; !planned; {
		if planned, err = p.prepare(ctx); err != nil {
			return p.result, err
		}
	}
	faultpoint.Reach("sync", "begin")
	if err = p.begin(ctx); err != nil {
		return p.result, err
	}
	faultpoint.Reach("sync", "host")
	err = p.writeHost(ctx)
	faultpoint.Reach("sync", "guest")
	if ctx.Err() == nil {
		err = errors.Join(err, p.writeGuest(ctx))
	}
	faultpoint.Reach("sync", "agree")
	// What has been done is recorded even if something failed.
	err = errors.Join(err, p.agree(context.WithoutCancel(ctx)))
	faultpoint.Reach("sync", "agreed")
	p.sort()
	return p.result, err
}

// prepare finds out what is to be done. It returns false if it has to be repeated, because a path
// of the host's is to be written that was not looked at before the snapshot.
func (p *pass) prepare(ctx context.Context) (planned bool, err error) {
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{{"look", p.look}, {"snapshot", p.snapshot}, {"plan", p.plan}} {
		faultpoint.Reach("sync", step.name)
		if err := step.run(ctx); err != nil {
			return false, err
		}
	}
	planned = true
	for _, i := range p.toHost {
		if !p.looked[i.path] {
			p.looked[i.path], planned = true, false
		}
	}
	return planned, nil
}

// pass is the work of one Run.
type pass struct {
	Request
	repo   Repo
	guest  Guest
	host   *apply.Session
	result Result

	looked  map[string]bool  // paths that are looked at before the snapshot
	snap    string           // the snapshot of the host
	mended  bool             // items have another base than Base
	changes []objects.Change // of the guest
	items   map[string]*item
	listing map[string]*incoming.Entry // what the guest has, but directories
	dirs    map[string]*dir
	toHost  []*item
	toGuest []*item

	// next is what both sides agree on now, and there what the guest has otherwise than its import
	// says, by path.
	next, there map[string]objects.Entry
	placed      []Placed
	// empty are directories of the guest without files, which give way to a file.
	empty []*incoming.Entry
}

// dir is a directory of the guest.
type dir struct {
	entry *incoming.Entry // nil if it was not listed
	files int             // below it, at any depth
	inner int             // directories that lie in it
}

// item is a path that one side changed.
type item struct {
	path              string
	base, host, guest objects.Entry
	// was is what the commit has in which both sides agreed last: base, unless a pass was killed since.
	was objects.Entry
}
