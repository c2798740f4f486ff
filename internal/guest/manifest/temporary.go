package manifest

import (
	"crypto/rand"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Recovered is how the names begin of files that an agent found under a temporary name and that
// nobody else has: the agent was killed in the moment in which somebody changed them.
const Recovered = "banger-recovered-"

// A temporary name is
//
//	prefix RUN . N                                     of a file that is being made, or
//	prefix RUN . N . inode . mtime . size . inode . mtime . size
//
// with what was made and what was to be replaced. RUN is that of one agent.
type temporaryName struct {
	name     string
	new, old identity
}

// identity tells whether a file is still what it was, under whatever name.
type identity struct {
	inode       uint64
	mtime, size int64
}

func identityOf(st *unix.Stat_t) identity {
	return identity{st.Ino, nanoseconds(st.Mtim), st.Size}
}

var (
	run   = sync.OnceValue(rand.Text)
	count atomic.Uint64
)

func newTemporary() temporaryName {
	return temporaryName{name: Temporary + run() + "." + strconv.FormatUint(count.Add(1), 36)}
}

// mark returns the name with what it stands for.
func (t temporaryName) mark(new, old identity) temporaryName {
	t.new, t.old = new, old
	for _, i := range []identity{new, old} {
		t.name += "." + strconv.FormatUint(i.inode, 36) + "." + strconv.FormatInt(i.mtime, 36) + "." + strconv.FormatInt(i.size, 36)
	}
	return t
}

// parseTemporary reads a name, and returns the run that it is of.
func parseTemporary(name string) (t temporaryName, of string, ok bool) {
	rest, ok := strings.CutPrefix(name, Temporary)
	parts := strings.Split(rest, ".")
	t.name = name
	switch {
	case !ok || len(parts) != 2 && len(parts) != 8:
		return t, "", false
	case len(parts) == 2:
		return t, parts[0], true
	}
	for n, i := range []*identity{&t.new, &t.old} {
		var errs [3]error
		part := parts[2+3*n:]
		i.inode, errs[0] = strconv.ParseUint(part[0], 36, 64)
		i.mtime, errs[1] = strconv.ParseInt(part[1], 36, 64)
		i.size, errs[2] = strconv.ParseInt(part[2], 36, 64)
		if errors.Join(errs[:]...) != nil {
			return t, "", false
		}
	}
	return t, parts[0], true
}

// holdsOld reports whether the name is that of what was to be replaced.
func (t temporaryName) holdsOld(dir int) bool {
	var st unix.Stat_t
	return unix.Fstatat(dir, t.name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && identityOf(&st) == t.old
}

// discard removes what has the name if it is known to be elsewhere, too: what was made is the
// host's, and so is what was to be replaced. Otherwise it gets a name under which it is seen.
func (t temporaryName) discard(dir int) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, t.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return
	}
	if i := identityOf(&st); t.old == (identity{}) || i == t.new || i == t.old {
		_ = unix.Unlinkat(dir, t.name, 0)
		return
	}
	_ = renameNew(dir, t.name, Recovered+rand.Text()[:10])
}

// cleanUp discards what agents that were killed have left in a directory.
func cleanUp(dir *os.File) {
	for {
		names, err := dir.Readdirnames(namesAtOnce)
		for _, name := range names {
			if t, of, ok := parseTemporary(name); ok && of != run() {
				t.discard(int(dir.Fd()))
			}
		}
		if err != nil {
			return
		}
	}
}

// isTemporary reports whether a name is temporary.
func isTemporary(name string) bool {
	_, _, ok := parseTemporary(name)
	return ok
}
