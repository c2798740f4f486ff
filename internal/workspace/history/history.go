// Package history takes the commits of a guest's repository into the host's, where they are
// remote-tracking branches. They come by git's own protocol, and git checks each object. Nothing is
// checked out, merged, or written to a configuration.
package history

import (
	"context"
	"io"
	"strings"

	"banger/api"
)

// Repo is the host's repository (gitrepo.Repo).
type Repo interface {
	Top() string
	Git(ctx context.Context, env []string, stdin io.Reader, args ...string) ([]byte, error)
}

// Request says what is fetched.
type Request struct {
	// VM names the branches: BRANCH of the guest's becomes refs/remotes/VM/BRANCH. It is a valid
	// name of a VM.
	VM string
	// URL is that of the guest's repository, and Protocol the only one that git may use for it.
	URL, Protocol string
	Env           []string // for git to find the program that speaks it
}

// Branch is a branch that is not as it was.
type Branch struct {
	Name     string // in the guest
	Ref      string // in the host's repository
	Old, New string // commits; empty if there was none, or is none any more
	Commits  int    // of New that are new to the repository
	// Former is a reference to Old if nothing else leads to it any more.
	Former string
}

// Refused is a branch of the guest's that was not taken.
type Refused struct{ Name, Why string }

// Result is what a Fetch has changed.
type Result struct {
	Branches []Branch
	Refused  []Refused
	Total    int // branches that were taken, changed or not
}

// safe are settings beside those of Repo.Git. Few objects are to come in a pack, too: git would write
// them one by one, before it has checked all, and would not look at them again in the next fetch.
// (Git 2.32 and later do that on their own if they check.)
var safe = []string{
	"-c", "transfer.fsckObjects=true", "-c", "fetch.fsckObjects=true", "-c", "fetch.unpackLimit=1",
	"-c", "fetch.writeCommitGraph=false", "-c", "fetch.pruneTags=false", "-c", "submodule.recurse=false",
}

// Fetch fetches all branches. What the guest has no more is removed. Whatever is replaced or
// removed, and on no other branch, gets a name below refs/banger/VM/former first. If it is
// interrupted, the next one completes it.
func Fetch(ctx context.Context, repo Repo, r Request) (Result, error) {
	f := &fetch{repo: repo, Request: r}
	if err := f.refuseRemote(ctx); err != nil {
		return Result{}, err
	}
	env := append([]string{"GIT_ALLOW_PROTOCOL=" + r.Protocol}, r.Env...) // whatever the settings say (git(1))
	args := append(append([]string{}, safe...),
		"fetch", "--quiet", "--prune", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance", "--no-write-fetch-head", "--refmap=",
		// The guest learns names of commits that it was sent or has made, and no others.
		"--negotiation-tip=refs/banger/"+r.VM+"/*", "--negotiation-tip="+f.taken("*"),
		"--", r.URL, "+refs/heads/*:"+f.incoming("*"))
	left, err := f.temporaries(ctx)
	if err != nil {
		return Result{}, err
	}
	if _, err := repo.Git(ctx, env, nil, args...); err != nil {
		left.remove()
		return Result{}, err
	}
	if err := f.read(ctx); err != nil {
		return Result{}, err
	}
	f.check()
	if err := f.compare(ctx); err != nil {
		return Result{}, err
	}
	return f.result, f.store(ctx)
}

// fetch is the work of one Fetch.
type fetch struct {
	Request
	repo   Repo
	came   map[string]object // by the names of branches
	had    map[string]object
	former map[string]string // numbers by commit, below refs/banger/VM/former
	last   int               // of the numbers
	result Result
}

type object struct{ id, kind string }

func (f *fetch) incoming(name string) string { return "refs/banger/" + f.VM + "/incoming/" + name }
func (f *fetch) taken(name string) string    { return "refs/remotes/" + f.VM + "/" + name }
func (f *fetch) formerRef(n string) string   { return "refs/banger/" + f.VM + "/former/" + n }

// refuseRemote refuses to write where the branches of a remote of the user's are.
func (f *fetch) refuseRemote(ctx context.Context) error {
	out, err := f.repo.Git(ctx, nil, nil, "config", "-z", "--list")
	if err != nil {
		return err
	}
	for entry := range strings.SplitSeq(string(out), "\x00") {
		key, value, _ := strings.Cut(entry, "\n")
		name, ok := strings.CutPrefix(key, "remote.")
		at := strings.LastIndexByte(name, '.')
		if !ok || at < 0 {
			continue
		}
		_, to, _ := strings.Cut(value, ":")
		if name[:at] == f.VM || name[at:] == ".fetch" && strings.HasPrefix(to, f.taken("")) {
			return api.Errorf(api.KindConflict, "cannot fetch into %s: the branches of your remote %.60q are there", f.taken(""), name[:at]).
				WithHint("git fetch banger::%s BRANCH   fetches one branch, to FETCH_HEAD", f.VM)
		}
	}
	return nil
}

// list returns the references below a prefix, by the rest of their names.
func (f *fetch) list(ctx context.Context, prefix string) (map[string]object, error) {
	out, err := f.repo.Git(ctx, nil, nil, "for-each-ref", "--format=%(objectname) %(objecttype) %(refname)", prefix)
	all := map[string]object{}
	for line := range strings.Lines(string(out)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if len(fields) == 3 {
			all[strings.TrimPrefix(fields[2], prefix)] = object{fields[0], fields[1]}
		}
	}
	return all, err
}
