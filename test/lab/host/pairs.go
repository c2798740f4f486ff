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
	"banger/internal/execx"
)

// Pair is a Firecracker and the jailer to play scenarios with.
type Pair struct {
	// Name is the pair's folder, here and in /lab/pairs; pathPair for that of PATH.
	Name string `json:"name"`
	// Firecracker and Jailer are the paths of the programs on this machine.
	Firecracker string `json:"firecracker"`
	Jailer      string `json:"jailer"`
	// Versions are what the two say to --version.
	Versions [2]firecracker.Version `json:"versions"`
}

// pathPair is the name of the pair that PATH has.
const pathPair = "PATH"

// pairName is what a pair's folder may be called: it goes into commands in the lab.
var pairName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// PathPair returns the pair that PATH has, if it has both programs.
func PathPair(ctx context.Context) (pair Pair, found bool, err error) {
	pair.Name = pathPair
	for name, path := range map[string]*string{"firecracker": &pair.Firecracker, "jailer": &pair.Jailer} {
		if *path, err = exec.LookPath(name); err != nil {
			return Pair{}, false, nil // one that is missing is no error
		}
	}
	err = pair.ask(ctx)
	return pair, err == nil, err
}

// Pairs finds the pairs in a folder, DIR/NAME/firecracker and DIR/NAME/jailer, the
// newest first. A folder without both programs is refused: a pair that was meant to be
// played with would be missed by nobody.
func Pairs(ctx context.Context, dir string) ([]Pair, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the folder of Firecracker pairs: %w", err)
	}
	var pairs []Pair
	for _, e := range entries {
		at := filepath.Join(dir, e.Name())
		if info, err := os.Stat(at); err != nil || !info.IsDir() { // also by a link
			if err != nil {
				return nil, fmt.Errorf("cannot read the folder of Firecracker pairs: %w", err)
			}
			continue
		}
		pair := Pair{Name: e.Name(), Firecracker: filepath.Join(at, "firecracker"), Jailer: filepath.Join(at, "jailer")}
		if !pairName.MatchString(pair.Name) {
			return nil, api.Errorf(api.KindInvalid, "cannot use %q as the name of a Firecracker pair", pair.Name).WithHint("call its folder by its version, such as 1.16.1")
		}
		if err := pair.ask(ctx); err != nil {
			return nil, err
		}
		pairs = append(pairs, pair)
	}
	if len(pairs) == 0 {
		return nil, api.Errorf(api.KindNotFound, "there is no Firecracker pair in %s", dir).WithHint("put %s/VERSION/firecracker and %s/VERSION/jailer there", dir, dir)
	}
	slices.SortStableFunc(pairs, func(a, b Pair) int {
		return cmp.Or(b.Versions[0].Compare(a.Versions[0]), cmp.Compare(b.Name, a.Name))
	})
	return pairs, nil
}

// askTime bounds a program's answer to --version.
const askTime = 10 * time.Second

// ask asks both programs for their versions.
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

// String is what a run calls the pair: its version, and its folder where that says more.
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

// Alike says whether both programs are of one release, which alone their makers test.
func (p Pair) Alike() bool { return p.Versions[0].Compare(p.Versions[1]) == 0 }

// FromPath says whether PATH has the pair, and nobody named it.
func (p Pair) FromPath() bool { return p.Name == pathPair }

// Dir is where the pair is in the lab.
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
