package treesync

import (
	"context"
	"errors"
	"maps"
	"os/exec"
	"path"
	"slices"
	"strings"

	"banger/internal/workspace/apply"
	"banger/internal/workspace/incoming"
	"banger/internal/workspace/objects"
)

// look looks at what the guest changed, before the snapshot of the host is taken.
func (p *pass) look(ctx context.Context) (err error) {
	if p.Guest.Commit != p.Base {
		if p.changes, err = objects.Changes(ctx, p.repo, p.Base, p.Guest.Commit); err != nil {
			return err
		}
	}
	for _, c := range p.changes {
		p.looked[c.Path] = true
	}
	return p.host.Look(ctx, slices.Sorted(maps.Keys(p.looked)))
}

// snapshot takes the snapshot, and puts what both sides changed together.
func (p *pass) snapshot(ctx context.Context) (err error) {
	if p.snap, err = p.Snapshot(ctx); err != nil {
		return err
	}
	var changes []objects.Change
	if p.snap != p.Base {
		if changes, err = objects.Changes(ctx, p.repo, p.Base, p.snap); err != nil {
			return err
		}
	}
	p.items = make(map[string]*item, len(changes)+len(p.changes))
	for _, c := range changes {
		p.items[c.Path] = &item{c.Path, c.Old, c.New, c.Old, c.Old}
	}
	for _, c := range p.changes {
		if i := p.items[c.Path]; i != nil {
			i.guest = c.New
		} else {
			p.items[c.Path] = &item{c.Path, c.Old, c.Old, c.New, c.Old}
		}
	}
	return p.mend(ctx)
}

// plan decides about each path.
func (p *pass) plan(ctx context.Context) error {
	p.result.Host, p.result.Conflicts, p.result.Warnings = p.snap, nil, nil
	p.toHost, p.toGuest, p.empty = nil, nil, nil
	p.next, p.there = map[string]objects.Entry{}, map[string]objects.Entry{}
	if len(p.items) == 0 {
		return nil
	}
	p.readListing()
	modules := p.modules()
	ignored, err := p.ignored(ctx, modules)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(p.items)) {
		i := p.items[name]
		if module := above(name, modules); module != "" {
			p.warnOnce(module, leftAlone)
			continue
		}
		p.decide(i, p.ofHost(i, ignored[name]), p.ofGuest(i))
	}
	p.settle()
	p.checkGuest()
	return nil
}

func (p *pass) readListing() {
	p.listing = make(map[string]*incoming.Entry, len(p.Guest.Entries))
	p.dirs = map[string]*dir{}
	for n := range p.Guest.Entries {
		e := &p.Guest.Entries[n]
		if e.Type == incoming.TypeDir {
			p.dir(e.Path).entry = e
			p.dir(path.Dir(e.Path)).inner++
			continue
		}
		p.listing[e.Path] = e
		for name := path.Dir(e.Path); name != "."; name = path.Dir(name) {
			p.dir(name).files++
		}
	}
}

func (p *pass) dir(name string) *dir {
	d := p.dirs[name]
	if d == nil {
		d = &dir{}
		p.dirs[name] = d
	}
	return d
}

// leftAlone is the warning of a submodule that changed.
const leftAlone = "left alone: it is a submodule: `banger sync` in its directory syncs it"

// modules are the submodules that changed.
func (p *pass) modules() map[string]bool {
	all := map[string]bool{}
	for name, i := range p.items {
		if i.base.Mode == objects.ModeModule || i.host.Mode == objects.ModeModule || i.guest.Mode == objects.ModeModule {
			all[name] = true
		}
	}
	for _, name := range p.Guest.Submodules {
		p.warnOnce(name, leftAlone)
	}
	return all
}

// above returns name, or the directory above it, that is one of names; "" if none is.
func above(name string, names map[string]bool) string {
	for ; len(names) > 0 && name != "."; name = path.Dir(name) {
		if names[name] {
			return name
		}
	}
	return ""
}

func (p *pass) warnOnce(name, text string) {
	if w := (incoming.Warning{Path: name, Text: text}); !slices.Contains(p.result.Warnings, w) {
		p.result.Warnings = append(p.result.Warnings, w)
	}
}

// side is what is to be known about a path on one side.
type side struct {
	changed bool
	// unknown says why the commit does not say what is there; "" if it does.
	unknown string
}

// ignored returns which of the paths that the snapshot lacks git ignores, whether they are there or
// not.
func (p *pass) ignored(ctx context.Context, modules map[string]bool) (map[string]bool, error) {
	var names strings.Builder
	for name, i := range p.items {
		// Git refuses to say it of what is in a submodule or behind a link.
		if i.host.Mode == "" && i.base.Mode != "" && !p.Included(name) && above(name, modules) == "" && !p.host.Behind(name) {
			names.WriteString(name + "\x00")
		}
	}
	if names.Len() == 0 {
		return nil, nil
	}
	out, err := p.repo.Git(ctx, nil, strings.NewReader(names.String()), "check-ignore", "-z", "--stdin")
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) { // 1: none is (git-check-ignore(1))
		return nil, err
	}
	ignored := map[string]bool{}
	for name := range strings.SplitSeq(string(out), "\x00") {
		ignored[name] = true
	}
	return ignored, nil
}

// ofHost compares the snapshot with what is there: a file that git ignores is in no snapshot, and
// one outside of a sparse checkout is in it though nothing is there.
func (p *pass) ofHost(i *item, ignored bool) side {
	exists, err := p.host.Exists(i.path)
	switch {
	case err != nil:
		return side{unknown: "it cannot be looked at here: " + err.Error()}
	case ignored || exists && i.host.Mode == "":
		return side{unknown: "a file that git ignores is in its place here"}
	case !exists && i.host.Mode != "":
		return side{unknown: "it is not checked out here"}
	}
	return side{changed: i.host != i.base}
}

// ofGuest does that for the guest.
func (p *pass) ofGuest(i *item) side {
	listed := p.listing[i.path] != nil
	switch {
	case above(i.path, p.Guest.Unknown) != "":
		return side{unknown: "what the guest has there cannot be imported"}
	case listed && i.guest.Mode == "":
		return side{unknown: "a file that git ignores is in its place in the guest"}
	case !listed && i.guest.Mode != "": // the guest was not sent it
		return side{}
	}
	return side{changed: i.guest != i.base}
}

// decide decides about one path.
func (p *pass) decide(i *item, host, guest side) {
	switch {
	case host.unknown != "" || guest.unknown != "":
		p.decideUnknown(i, host, guest)
	case !host.changed && !guest.changed:
	case !host.changed:
		p.toHost = append(p.toHost, i)
	case !guest.changed:
		p.toGuest = append(p.toGuest, i)
	case i.host == i.guest:
		p.next[i.path] = i.host
	case p.Keep == KeepHost:
		p.toGuest = append(p.toGuest, i)
	case p.Keep == KeepGuest:
		p.toHost = append(p.toHost, i)
	default:
		p.conflict(i, apply.Reason(i.host, objects.Change{Path: i.path, Old: i.base, New: i.guest}))
	}
}

// decideUnknown leaves a path alone of which one side says nothing. If it was in no snapshot
// before, or the other side removed or changed what cannot be seen, that is a conflict.
func (p *pass) decideUnknown(i *item, host, guest side) {
	switch {
	case host.unknown != "" && guest.changed && (i.base.Mode == "" || i.host.Mode != ""):
		p.conflict(i, host.unknown)
	case guest.unknown != "" && host.changed:
		p.conflict(i, guest.unknown)
	}
}

func (p *pass) conflict(i *item, reason string) {
	p.result.Conflicts = append(p.result.Conflicts, Conflict{i.path, reason, p.snap, p.Guest.Commit})
}

// checkGuest makes conflicts of the paths for which there is no place in the guest: a file is where
// a directory is to be, or a directory with other files where a file is to be.
func (p *pass) checkGuest() {
	removed, below := map[string]bool{}, map[string]int{}
	for _, i := range p.toGuest {
		if i.host.Mode != "" || p.listing[i.path] == nil {
			continue
		}
		removed[i.path] = true
		for dir := path.Dir(i.path); dir != "."; dir = path.Dir(dir) {
			below[dir]++
		}
	}
	p.toGuest = slices.DeleteFunc(p.toGuest, func(i *item) bool {
		if i.host.Mode == "" {
			return false
		}
		if d := p.dirs[i.path]; d != nil && d.files > below[i.path] {
			p.conflict(i, "a directory with other files is in its place in the guest")
			return true
		} else if d != nil {
			p.makeWay(i.path)
		}
		for dir := path.Dir(i.path); dir != "."; dir = path.Dir(dir) {
			if p.listing[dir] != nil && !removed[dir] {
				p.conflict(i, "a file is where its directory is to be in the guest")
				return true
			}
		}
		return false
	})
}

// makeWay has the empty directories below a directory removed. That one goes with the last of what
// is in it.
func (p *pass) makeWay(name string) {
	for _, below := range slices.Sorted(maps.Keys(p.dirs)) {
		if d := p.dirs[below]; strings.HasPrefix(below, name+"/") && d.entry != nil && d.files == 0 && d.inner == 0 {
			p.empty = append(p.empty, d.entry)
		}
	}
}
