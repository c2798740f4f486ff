// Package hostfiles copies files of this host, and git's identity, into a guest, as the user of
// the process that runs it.
package hostfiles

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/filecopy"
)

const (
	// maxBytes and maxFiles bound an entry that is not large: more was not meant to be copied at
	// every start, such as a whole home directory.
	maxBytes = 64 << 20
	maxFiles = 10_000
	// A guest that hangs delays a start by no more than this for one entry.
	copyTime, largeCopyTime = 2 * time.Minute, 30 * time.Minute
	// maxWarnings is how many files that were skipped are named for one entry.
	maxWarnings = 8
)

// Rule is a file or directory of the host to copy.
type Rule struct {
	Host  string // an absolute path, or ~/… for one below the owner's home directory
	Guest string // likewise, for the home directory of the guest's user
	// Mode is the mode of files, from 0001 to 0777; 0: as on the host. A directory gets it with
	// the right to enter for everybody who may read.
	Mode uint32
	// Owner is a user of the guest, "user" or "user:group"; empty: root, or if Guest is below
	// the home directory, its user.
	Owner string
	Large bool // without the limits of size
}

// Wanted is what the settings say.
type Wanted struct {
	Rules       []Rule
	GitIdentity bool // copy user.name and user.email of git's configuration
}

// copying is one run for one guest.
type copying struct {
	c        *guest.Client
	home     string // the owner's; empty with an error
	homeErr  error
	user     string // the guest's, as in the image
	accounts *accounts
}

// Copy copies everything into the guest of a VM, from files that this process's user may read. An
// error means that ctx has ended.
func Copy(ctx context.Context, dial guest.Dial, v api.VM, wanted Wanted) ([]api.SyncedFile, error) {
	c := &guest.Client{Dial: dial, VM: func() string { return v.Name }}
	cp := &copying{c: c, accounts: &accounts{c: c}}
	if v.ImageConfig != nil {
		cp.user = v.ImageConfig.User
	}
	cp.home, cp.homeErr = homeDir()
	done := []api.SyncedFile{}
	for _, r := range wanted.Rules {
		if ctx.Err() != nil {
			break
		}
		done = append(done, cp.rule(ctx, r))
	}
	if wanted.GitIdentity && ctx.Err() == nil {
		done = append(done, cp.git(ctx))
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return done, nil
}

// rule copies one entry.
func (cp *copying) rule(ctx context.Context, r Rule) api.SyncedFile {
	f := api.SyncedFile{Host: r.Host, Guest: r.Guest}
	limit := copyTime
	if r.Large {
		limit = largeCopyTime
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	src, err := cp.open(r.Host)
	if err != nil {
		return failed(f, err)
	}
	defer src.Root.Close()
	if err := check(src, r); err != nil {
		return failed(f, err)
	}
	return cp.place(ctx, f, src, r)
}

// place copies an open source to where the rule says.
func (cp *copying) place(ctx context.Context, f api.SyncedFile, src filecopy.Source, r Rule) api.SyncedFile {
	to, owner, err := cp.target(ctx, r)
	if err != nil {
		return failed(f, err)
	}
	f.Guest = to
	src.Change = func(e *filecopy.Entry) {
		e.UID, e.GID, e.Mode = owner.uid, owner.gid, mode(r.Mode, *e)
	}
	above := filecopy.Entry{Mode: 0o755, UID: owner.uid, GID: owner.gid, MTime: time.Now()}
	var said warnings
	err = cp.c.Place(ctx, src, to, above, guest.CopyOptions{Archive: true, Warnings: &said})
	f.Warnings = said.lines()
	if err != nil {
		return failed(f, err)
	}
	f.Result = api.SyncCopied
	return f
}

// target returns the path in the guest and the owner of the copy.
func (cp *copying) target(ctx context.Context, r Rule) (string, account, error) {
	rel, inHome := strings.CutPrefix(r.Guest, "~/")
	to, name := r.Guest, r.Owner
	var owner account
	if inHome {
		user, err := cp.accounts.find(ctx, cp.user)
		if err != nil {
			return "", owner, err
		}
		to, owner = path.Join(user.home, rel), user
	}
	if name != "" {
		var err error
		if owner, err = cp.accounts.find(ctx, name); err != nil {
			return "", owner, err
		}
	}
	return to, owner, nil
}

// mode returns the mode of a copy. It never has set-user-id bits: they were meant for another
// system's users.
func mode(wanted uint32, e filecopy.Entry) uint32 {
	m := e.Mode & 0o777
	if wanted != 0 {
		m = wanted
		if e.Type == filecopy.Dir {
			m |= m & 0o444 >> 2
		}
	}
	return m
}

// check refuses what is more than an entry may have.
func check(src filecopy.Source, r Rule) error {
	if r.Large {
		return nil
	}
	return src.Measure(func(sum filecopy.Progress) error {
		if sum.Bytes > maxBytes || sum.Files > maxFiles {
			return api.Errorf(api.KindInvalid, "it has more than %d MiB or %d files: large = true allows that", maxBytes>>20, maxFiles)
		}
		return nil
	})
}

// failed tells why an entry was not copied.
func failed(f api.SyncedFile, err error) api.SyncedFile {
	f.Result, f.Reason = api.SyncFailed, err.Error()
	if errors.Is(err, errMissing) {
		f.Result, f.Reason = api.SyncMissing, ""
	}
	var p *fs.PathError
	if errors.As(err, &p) && api.KindOf(err) == api.KindInternal {
		f.Reason = p.Err.Error()
	}
	return f
}

// warnings collects the agent's lines about skipped files.
type warnings struct{ text strings.Builder }

// Write keeps a bounded part: the guest may write without an end.
func (w *warnings) Write(p []byte) (int, error) {
	if w.text.Len() < 64<<10 {
		w.text.Write(p)
	}
	return len(p), nil
}

func (w *warnings) lines() []string {
	var lines []string
	for line := range strings.Lines(w.text.String()) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "banger: ")
		switch {
		case line == "":
		case len(lines) == maxWarnings:
			return append(lines, "and further ones")
		default:
			lines = append(lines, line)
		}
	}
	return lines
}
