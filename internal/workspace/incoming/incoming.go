// Package incoming makes a commit of the files that a guest has: the way back of a work tree
// that was sent to it.
//
// The guest is not trusted. It says which files it has and what is in them, and nothing more:
// names are checked, contents are bounded, its .git directory is not looked at, and neither
// its attributes nor its configuration decide which program runs on the host. All objects are
// made in a quarantine, which git checks before they enter the repository.
package incoming

import (
	"context"
	"io"
	"time"

	"banger/internal/faultpoint"
	"banger/internal/workspace/objects"
)

// Repo is the host's repository.
type Repo interface {
	// Top is the absolute path of the work tree, in which Git runs.
	Top() string
	// Git runs a git command on it and returns its standard output. env is added to the
	// environment; args may begin with options of git itself, such as -c.
	Git(ctx context.Context, env []string, stdin io.Reader, args ...string) ([]byte, error)
}

// Guest is a directory of a guest.
type Guest interface {
	// Tree calls each for everything in the directory, at any depth, in any order.
	Tree(ctx context.Context, each func(Entry) error) error
	// Fetch calls each with the content of files of the directory, in any order. It leaves out
	// a file that does not exist any more.
	Fetch(ctx context.Context, names []string, each func(name string, content io.Reader) error) error
}

// Entry is one file of a guest. Its fields are those of the guest's manifest, in their order,
// so that one can be converted to the other.
type Entry struct {
	Path  string // relative, with slashes
	Type  string // file, dir, link or other
	Mode  uint32
	Size  int64
	MTime int64 // ns since 1970, as CTime
	CTime int64
	Inode uint64
	Link  string // the target
	// Skipped means that what is in the directory is not listed.
	Skipped bool
	// Unread is why it is not known what is in a directory, or what else the path is.
	Unread string
}

// The types of entries.
const (
	TypeFile = "file"
	TypeDir  = "dir"
	TypeLink = "link"
)

// State is a commit together with the guest's files at the moment when they were the same. Who
// stores it: names are of any bytes, and JSON changes those that are not UTF-8.
type State struct {
	Commit  string
	Entries []Entry
	// Began is the guest's time, in ns since 1970, when it began to list the entries; 0 if it
	// is not known. A file that changed so shortly before may have changed again without
	// another ctime, so its content is compared.
	Began int64
	// Placed are files that were written to the guest after that, as a directory of it listed them
	// right then. One whose mtime is older than its ctime has not changed without another mtime.
	Placed map[string]bool
	// Whole says that the commit is what an import makes of all entries. A .gitignore file that was
	// placed since may have changed which others git ignores.
	Whole bool
	// Gaps says that the guest has paths that the entries do not: see Result.Unknown.
	Gaps bool
}

// MayChange reports whether an entry, as it was listed now or then, may have changed since the
// listing without other times.
func (s State) MayChange(e Entry) bool {
	return s.Began != 0 && e.CTime > s.Began-racy && !(s.Placed[e.Path] && e.MTime < e.CTime)
}

// StillPlaced returns what is Placed and the same in another listing.
func (s State) StillPlaced(now []Entry) map[string]bool {
	if len(s.Placed) == 0 {
		return nil
	}
	was := make(map[string]Entry, len(s.Placed))
	for _, e := range s.Entries {
		if s.Placed[e.Path] {
			was[e.Path] = e
		}
	}
	still := map[string]bool{}
	for _, e := range now {
		if old, placed := was[e.Path]; placed && old == e {
			still[e.Path] = true
		}
	}
	return still
}

// Limits bound what one import takes from a guest. A zero field has the default.
type Limits struct {
	Entries int   // files and directories; by default 1,000,000
	File    int64 // bytes of one file; by default 1 GiB
	Total   int64 // bytes of all files that are fetched; by default 4 GiB
	// Rules is the time that git may take to say what the guest's .gitignore files ignore; by
	// default a minute. Before version 2.41, git takes time without end for some patterns.
	Rules time.Duration
}

// Request says what is imported.
type Request struct {
	VM string // its name
	// Shipped is the snapshot that the guest was sent, with the listing right after that. If it
	// has no entries, all of the commit counts as sent.
	Shipped State
	// Sent, unless nil, returns Shipped's listing. It is not called if nothing has changed since Last.
	Sent func() State
	// Last is an earlier result, if there is one: what has not changed since is not fetched
	// again.
	Last   *State
	Limits Limits
	// Tracked, unless nil, reports of more paths than those of the shipped snapshot that git does
	// not ignore them.
	Tracked func(path string) bool
	// Message is that of the commit, unless it is empty.
	Message string
	// Any commit of the guest's series with the same tree will do, whatever it is of.
	Any bool
	// Record names the commit, which exists: gitrepo.Repo.Record. It is the last step.
	Record func(ctx context.Context, commit string) error
}

// Warning is something that the user should know about one path.
type Warning struct{ Path, Text string }

// Result is the commit of the guest's state.
type Result struct {
	State          // for the Last of the next import; Began is the caller's to set
	Tree    string // of the commit
	Same    bool   // whether nothing has changed since Last, so that it is as good as this
	New     bool   // whether the commit was made and recorded now
	Ignored int    // files that were left out because git ignores them
	Fetched int    // files whose content was fetched
	Bytes   int64  // their sum
	// Submodules are those in which something changed: each is a repository, and imported as
	// one.
	Submodules []string
	// Unknown are paths of which the commit does not say what the guest has: directories that
	// cannot be read, with all in them, and what git cannot have.
	Unknown  map[string]bool
	Warnings []Warning
}

// Import returns the commit of the guest's present state. If that is the shipped state, or one
// that was recorded before, no new commit is made. Until Record is called nothing refers to
// what Import writes.
func Import(ctx context.Context, repo Repo, guest Guest, r Request) (Result, error) {
	i := &importer{repo: repo, guest: guest, Request: r, unknown: map[string]bool{}}
	i.result.Unknown = map[string]bool{}
	i.Limits.setDefaults()
	defer func() { i.quarantine.close() }()
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"list", i.list},
		{"last", i.compareLast},
		{"open", i.open},
		{"base", i.readBase},
		{"compare", i.compare},
		{"ignore", i.dropIgnored},
		{"fetch", i.fetch},
		{"tree", i.makeTree},
		{"commit", i.makeCommit},
		{"check", i.accept},
		{"record", i.record},
	} {
		faultpoint.Reach("incoming", step.name)
		if err := step.run(ctx); err != nil {
			return Result{}, err
		}
		if i.result.Same {
			break
		}
	}
	faultpoint.Reach("incoming", "recorded")
	i.result.Entries, i.result.Whole, i.result.Gaps = i.entries, true, len(i.result.Unknown) > 0
	return i.result, nil
}

func (l *Limits) setDefaults() {
	if l.Entries == 0 {
		l.Entries = 1_000_000
	}
	if l.File == 0 {
		l.File = 1 << 30
	}
	if l.Total == 0 {
		l.Total = 4 << 30
	}
	if l.Rules == 0 {
		l.Rules = time.Minute
	}
}

// importer is the work of one Import.
type importer struct {
	Request
	repo       Repo
	guest      Guest
	quarantine *quarantine
	result     Result

	base      map[string]objects.Entry
	baseTree  string // its name
	entries   []Entry
	unknown   map[string]bool // paths at and below which nothing is known
	changed   []*change       // sorted by path
	lastThere bool            // the repository has the commit of Last
	inner     []string        // directories that have a .git
}

// change is a path of which the guest has something else than the shipped snapshot.
type change struct {
	entry Entry
	// mode and id are what the tree gets; an empty id removes the path.
	mode, id string
}

// maxWarnings bounds what a hostile guest can have printed.
const maxWarnings = 100

func (i *importer) warn(path, text string) {
	switch n := len(i.result.Warnings); {
	case n < maxWarnings:
		i.result.Warnings = append(i.result.Warnings, Warning{path, text})
	case n == maxWarnings:
		i.result.Warnings = append(i.result.Warnings, Warning{"", "more warnings were left out"})
	}
}
