package remote

import (
	"encoding/json"
	"os"
	"path/filepath"

	"banger/api"
	"banger/internal/host/fsx"
)

// State is what is remembered of a clone, in a file beside its tree.
type State struct {
	URL, Ref string // of Remote
	Tree     string // the name of the directory of the work tree
	Commit   string // that was checked out last
	// Moving is the commit that is being checked out, or "".
	Moving string `json:",omitempty"`
}

func (s State) String() string { return Remote{URL: s.URL, Ref: s.Ref}.String() }

const stateFile = "remote.json"

// Load returns the state of the clone in a directory; an fs.ErrNotExist if there is none.
func Load(dir string) (s State, err error) {
	path := filepath.Join(dir, stateFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil || s.Tree == "" || s.Tree != filepath.Base(s.Tree) {
		return s, api.Errorf(api.KindInternal, "cannot use the clone in %s: %s is damaged", dir, path).
			WithHint("mv %s %s.old   lets banger clone it again", dir, dir)
	}
	return s, nil
}

func (s State) save(dir string) error {
	return fsx.DiskError("record what was cloned", fsx.WriteJSON(filepath.Join(dir, stateFile), s))
}
