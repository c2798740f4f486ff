package host

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"banger/api"
	"banger/internal/driver/firecracker"
	"banger/internal/host/execx"
)

// Pair is a Firecracker and a jailer to run scenarios with.
type Pair struct {
	// Name is the pair's folder, here and in /lab/pairs; pathPair for the one in PATH.
	Name string `json:"name"`
	// Firecracker and Jailer are the paths of the programs on this machine.
	Firecracker string `json:"firecracker"`
	Jailer      string `json:"jailer"`
	// Versions are the outputs of their --version.
	Versions [2]firecracker.Version `json:"versions"`
}

// pathPair is the name of the pair in PATH.
const pathPair = "PATH"

// pairName matches valid names of a pair's folder, which are used in commands in the
// lab.
var pairName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// PathPair returns the pair in PATH, if PATH has both programs.
func PathPair(ctx context.Context) (pair Pair, found bool, err error) {
	pair.Name = pathPair
	for name, path := range map[string]*string{"firecracker": &pair.Firecracker, "jailer": &pair.Jailer} {
		if *path, err = exec.LookPath(name); err != nil {
			return Pair{}, false, nil // a missing one is not an error
		}
	}
	err = pair.ask(ctx)
	return pair, err == nil, err
}

// Pairs finds the pairs in a folder, DIR/NAME/firecracker and DIR/NAME/jailer, newest
// first. A folder without both programs is refused: otherwise a missing pair would not
// be noticed.
func Pairs(ctx context.Context, dir string) ([]Pair, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the folder of Firecracker pairs: %w", err)
	}
	var pairs []Pair
	for _, e := range entries {
		at := filepath.Join(dir, e.Name())
		if info, err := os.Stat(at); err != nil || !info.IsDir() { // links are followed
			if err != nil {
				return nil, fmt.Errorf("cannot read the folder of Firecracker pairs: %w", err)
			}
			continue
		}
		pair := Pair{Name: e.Name(), Firecracker: filepath.Join(at, "firecracker"), Jailer: filepath.Join(at, "jailer")}
		if !pairName.MatchString(pair.Name) {
			return nil, api.Errorf(api.KindInvalid, "cannot use %q as the name of a Firecracker pair", pair.Name).WithHint("name its folder after its version, such as 1.16.1")
		}
		if err := pair.ask(ctx); err != nil {
			return nil, err
		}
		pairs = append(pairs, pair)
	}
	if len(pairs) == 0 {
		return nil, api.Errorf(api.KindNotFound, "no Firecracker pair is in %s", dir).WithHint("put %s/VERSION/firecracker and %s/VERSION/jailer there", dir, dir)
	}
	slices.SortStableFunc(pairs, func(a, b Pair) int {
		return cmp.Or(b.Versions[0].Compare(a.Versions[0]), cmp.Compare(b.Name, a.Name))
	})
	return pairs, nil
}

// askTime bounds a program's answer to --version.
const askTime = 10 * time.Second

// ask runs both programs for their versions.
func (p *Pair) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	for i, program := range []struct{ path, name string }{{p.Firecracker, firecracker.Firecracker}, {p.Jailer, firecracker.Jailer}} {
		var out bytes.Buffer
		err := execx.Run(ctx, execx.Cmd{Name: program.path, Args: []string{"--version"}, Stdout: &out})
		if err == nil {
			p.Versions[i], err = firecracker.ParseVersion(program.name, out.String())
		}
		if err != nil {
			return fmt.Errorf("cannot use the Firecracker pair %s: %w", p.Name, err)
		}
	}
	return nil
}

// String names the pair in a run's output: its version, and its folder if that differs.
func (p Pair) String() string {
	version := p.Versions[0].String()
	switch {
	case p.Alike() && (p.Name == version || p.Name == pathPair):
		return "firecracker " + version
	case p.Alike():
		return fmt.Sprintf("firecracker %s (%s)", version, p.Name)
	}
	return fmt.Sprintf("firecracker %s with jailer %s", version, p.Versions[1])
}

// Alike reports whether both programs are of the same release; other combinations are
// not tested by Firecracker.
func (p Pair) Alike() bool { return p.Versions[0].Compare(p.Versions[1]) == 0 }

// FromPath reports whether the pair was found in PATH, and not named.
func (p Pair) FromPath() bool { return p.Name == pathPair }

// Dir returns the pair's directory in the lab.
func (p Pair) Dir() string { return "/lab/pairs/" + p.Name }

func (p Pair) copyTo(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, path := range map[string]string{"firecracker": p.Firecracker, "jailer": p.Jailer} {
		if err := copyFile(path, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
