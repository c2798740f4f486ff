package apply

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/host/fsx"
)

// journalDir is the directory, below that of the work tree, of the last Apply: journal.json, and
// the contents before it (old) and after it (new), by the number of the entry.
const journalDir = "last"

// journal says what an Apply changes. It is complete before the first change, so that what a
// killed Apply left can be taken back.
type journal struct {
	ID      string // of the names of temporary files
	Top     name   // the work tree
	Shipped string // the Request's; empty if an older banger wrote the journal
	Entries []entry
}

type entry struct {
	Name     name
	Old, New state
}

// path is the path of the entry.
func (e entry) path() string { return string(e.Name) }

// name is a name of any bytes: a JSON string has no others than UTF-8.
type name string

// MarshalText quotes the name as Go does.
func (n name) MarshalText() ([]byte, error) { return []byte(strconv.QuoteToASCII(string(n))), nil }

// UnmarshalText reads what MarshalText wrote.
func (n *name) UnmarshalText(text []byte) error {
	s, err := strconv.Unquote(string(text))
	*n = name(s)
	return err
}

// state is what is at a path, byte for byte.
type state struct {
	Kind   string
	Mode   uint32 // permissions
	SHA256 string
	Link   name
}

// temporary is the name, in the directory of entry n, that a file has for a moment.
func (j *journal) temporary(n int) string { return fmt.Sprintf(".banger-%s-%d", j.ID, n) }

// stateOf reads what is at a path; with copyTo, a file's content is written there.
func (t *tree) stateOf(path, copyTo string) (state, stat, error) {
	s, err := t.lstat(path)
	if missing(err) {
		return state{}, stat{}, nil
	}
	if err != nil {
		return state{}, s, err
	}
	is := state{Kind: s.kind(), Mode: s.mode & 0o7777}
	switch is.Kind {
	case kindLink:
		is.Mode = 0
		is.Link, err = t.readLink(path)
	case kindFile:
		is.SHA256, err = t.sum(path, copyTo)
	}
	return is, s, err
}

func (t *tree) readLink(file string) (name, error) {
	dir, err := t.parent(file)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(dir.Fd()), path.Base(file), buf)
	return name(buf[:max(n, 0)]), err
}

// sum returns the SHA-256 of a file, and copies it.
func (t *tree) sum(file, copyTo string) (string, error) {
	f, err := t.open(file, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return sumOf(f, copyTo)
}

func sumOf(from io.Reader, copyTo string) (string, error) {
	h := sha256.New()
	if copyTo == "" {
		_, err := io.Copy(h, from)
		return fmt.Sprintf("%x", h.Sum(nil)), err
	}
	to, err := os.OpenFile(copyTo, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(io.MultiWriter(h, to), from)
	if err == nil {
		err = to.Sync()
	}
	return fmt.Sprintf("%x", h.Sum(nil)), errors.Join(err, to.Close())
}

// writeJournal copies what is going to be replaced, and makes the journal durable. That of the
// Apply before is removed.
func (a *applier) writeJournal() (*journal, error) {
	j := &journal{ID: random(), Top: name(a.repo.Top()), Shipped: a.Shipped}
	copies := filepath.Join(a.stage, "old")
	if err := os.Mkdir(copies, 0o700); err != nil {
		return nil, err
	}
	for n, act := range a.actions {
		place := filepath.Join(copies, fmt.Sprint(n))
		if a.each {
			place = "" // nothing is restored
		}
		old, _, err := a.tree.stateOf(act.path, place)
		if errors.Is(err, errLink) { // which is removed first
			old, err = state{}, nil
		}
		if err != nil {
			return nil, api.Errorf(api.KindInternal, "cannot copy %.100q: %w", act.path, err)
		}
		if old.Kind == kindDir { // whose files are removed first
			old = state{}
			a.seen[act.path] = stat{}
		}
		after := act.after
		after.Mode = permissions(old, act.to.Mode, a.host[act.path].Mode)
		j.Entries = append(j.Entries, entry{name(act.path), old, after})
	}
	if err := errors.Join(fsx.SyncDir(copies), fsx.SyncDir(filepath.Join(a.stage, "new"))); err != nil {
		return nil, err
	}
	if err := fsx.WriteJSON(filepath.Join(a.stage, "journal.json"), j); err != nil {
		return nil, err
	}
	if err := fsx.Swap(a.stage, filepath.Join(a.Dir, journalDir), false); err != nil {
		return nil, err
	}
	return j, fsx.SyncDir(a.Dir)
}

// permissions are those of a file after the change: what git would give a new one, and those that
// the file has, but for the right to execute it if that changed.
func permissions(old state, to, was string) uint32 {
	const exec = "100755"
	switch {
	case to == "" || to == "120000":
		return 0
	case old.Kind != kindFile && to == exec:
		return 0o777 &^ umask()
	case old.Kind != kindFile:
		return 0o666 &^ umask()
	case to == was:
		return old.Mode
	case to == exec:
		return old.Mode | old.Mode&0o444>>2
	}
	return old.Mode &^ 0o111
}

// umask is the user's; it can only be read by setting it, or from proc_pid_status(5).
func umask() uint32 {
	status, err := os.ReadFile("/proc/self/status")
	var mask uint32 = 0o022
	if err != nil {
		return mask
	}
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "Umask:\t%o", &mask); err == nil {
			break
		}
	}
	return mask
}

// loadJournal reads the journal of the last Apply.
func loadJournal(dir string) (*journal, error) {
	data, err := os.ReadFile(filepath.Join(dir, journalDir, "journal.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, api.Errorf(api.KindNotFound, "there is nothing to undo")
	}
	if err != nil {
		return nil, err
	}
	j := &journal{}
	if err := json.Unmarshal(data, j); err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot read %s: %w", filepath.Join(dir, journalDir, "journal.json"), err)
	}
	return j, nil
}

// discard removes the journal.
func (j *journal) discard(dir string) error {
	gone := filepath.Join(dir, "gone-"+random())
	if err := os.Rename(filepath.Join(dir, journalDir), gone); err != nil {
		return err
	}
	return errors.Join(fsx.SyncDir(dir), os.RemoveAll(gone))
}
