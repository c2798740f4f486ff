package update

import (
	"context"
	"path/filepath"
	"slices"

	"banger/api"
	"banger/internal/commands"
)

// unlinked returns the commands that the version in dir has, and for which this installation has no link: an
// installation by an older version, which had fewer, lacks some.
func (m Machine) unlinked(ctx context.Context, dir string) ([]commands.Link, error) {
	if m.Bin == "" {
		return nil, nil
	}
	names, err := m.Deps.Commands(ctx, dir)
	return commands.Unlinked(m.Bin, names), err
}

// addCommands links the commands that the journal lists. That is after the proof, so that nothing has to be undone: no
// failure here may stop the update, and each is a problem of it. It can be repeated.
func (r *run) addCommands() {
	for _, name := range r.j.Commands {
		path := filepath.Join(r.Bin, name)
		added, err := commands.Add(path)
		if added {
			r.Report("added the command " + path)
		}
		if err == nil {
			continue
		}
		problem := api.AsError(err).Message + "; `banger doctor` says what to type"
		if !slices.Contains(r.j.Problems, problem) { // of an earlier attempt
			r.addProblem(problem)
		}
	}
}
