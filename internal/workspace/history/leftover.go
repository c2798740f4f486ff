package history

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// temporaries are the files in which git receives a pack. If a fetch fails, git leaves them
// (index-pack in git's builtin/index-pack.c), and a guest decides how large they are.
type temporaries struct {
	dir    string
	before map[string]bool
}

func (f *fetch) temporaries(ctx context.Context) (temporaries, error) {
	out, err := f.repo.Git(ctx, nil, nil, "rev-parse", "--git-path", "objects/pack")
	dir := strings.TrimSuffix(string(out), "\n")
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(f.repo.Top(), dir)
	}
	t := temporaries{dir, map[string]bool{}}
	for _, name := range t.now() {
		t.before[name] = true
	}
	return t, err
}

func (t temporaries) now() []string {
	names, _ := filepath.Glob(filepath.Join(escape(t.dir), "tmp_*"))
	return names
}

// escape escapes what filepath.Match gives a meaning to.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// settle is longer than git takes from closing such a file until the file has its final name.
const settle = 200 * time.Millisecond

// remove removes those that are new and that nobody has open, now and a moment later: another git
// may receive a pack at the same time.
func (t temporaries) remove() {
	var left []string
	for _, name := range t.now() {
		if !t.before[name] && ifUnused(name, func() {}) {
			left = append(left, name)
		}
	}
	if len(left) == 0 {
		return
	}
	time.Sleep(settle)
	for _, name := range left {
		ifUnused(name, func() { _ = os.Remove(name) })
	}
}

// ifUnused calls do if no process has the file open. For that it takes a lease, which the kernel
// gives to nobody as long as somebody else has the file open (fcntl(2)).
func ifUnused(name string, do func()) bool {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		return false
	}
	do()
	return true
}
