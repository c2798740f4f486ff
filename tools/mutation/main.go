// Mutation tests the tests: it changes the code of a package in one place at a time,
// and runs the package's tests with each change. A change that no test detects (a
// mutant that survives) needs a new test, or is listed in survivors.txt with the reason
// why no test can detect it. The list is compared in both directions.
//
// The mutants are those of gremlins (https://gremlins.dev). Results are cached by the
// content of the package, so that an interrupted run continues with the next package.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	gremlins = "github.com/go-gremlins/gremlins/cmd/gremlins"
	version  = "v0.6.0"
	// list is the file of the survivors with their reasons.
	list = "tools/mutation/survivors.txt"
)

func main() {
	caged() // returns, unless this process is the cage
	workers := flag.Int("workers", 1, "how many mutants to test at a time")
	// A mutant may run this many times as long as all tests of its package, including
	// the build, take without one.
	patience := flag.Int("patience", 5, "how many times as long as usual tests may take with a mutant")
	dir := flag.String("results", "bin/mutation", "the directory of the results; remove it to test all again")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r := runner{dir: *dir, workers: *workers, patience: *patience}
	if err := r.run(ctx, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		os.Exit(1)
	}
}

type runner struct {
	dir               string
	workers, patience int
}

func (r runner) run(ctx context.Context, packages []string) error {
	if len(packages) == 0 {
		return errors.New("no packages; type: make mutation PACKAGES='internal/host/proc internal/rootapi'")
	}
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "mutation: not root: mutants run with all your rights, and tests that need root are skipped")
	}
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	known, err := parseList(string(text))
	if err == nil {
		err = os.MkdirAll(r.dir, 0o755)
	}
	if err != nil {
		return err
	}
	var wrong []error
	for _, pkg := range packages {
		pkg = filepath.Clean(pkg)
		found, err := r.test(ctx, pkg)
		if err != nil {
			return fmt.Errorf("%s: %w", pkg, err)
		}
		survived, err := survivors(pkg, found, os.ReadFile)
		if err != nil {
			return err
		}
		counts := map[string]int{}
		for _, m := range found {
			counts[m.Status]++
		}
		fmt.Printf("%s: %d mutants, %v\n", pkg, len(found), counts)
		wrong = append(wrong, compare(known.of(pkg), survived)...)
	}
	return errors.Join(wrong...)
}

// test returns the mutants of a package, from a new or an earlier run.
func (r runner) test(ctx context.Context, pkg string) ([]mutant, error) {
	sum, err := sumOf(pkg)
	if err != nil {
		return nil, err
	}
	result := filepath.Join(r.dir, fmt.Sprintf("%s-%.8x", filepath.Base(pkg), sum))
	var all []mutant
	if data, err := os.ReadFile(result + ".json"); err == nil {
		err = json.Unmarshal(data, &all)
		return all, err
	}
	if _, err := os.Stat(result + "-gremlins.json"); errors.Is(err, fs.ErrNotExist) {
		if err := r.unleash(ctx, pkg, result+"-gremlins.json"); err != nil {
			return nil, err
		}
	}
	data, err := os.ReadFile(result + "-gremlins.json")
	if err == nil {
		all, err = parseResult(pkg, data)
	}
	if err == nil {
		err = r.retest(ctx, pkg, all)
	}
	if err != nil {
		return nil, err
	}
	if data, err = json.Marshal(all); err != nil {
		return nil, err
	}
	return all, os.WriteFile(result+".json", data, 0o644)
}

// unleash tests the mutants of a package, and writes the results.
func (r runner) unleash(ctx context.Context, pkg, result string) error {
	program, err := r.install(ctx)
	if err == nil {
		err = download(ctx)
	}
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(r.dir)
	if err != nil {
		return err
	}
	partial := filepath.Join(dir, "partial.json")
	args := []string{
		// Packages below this one are tested with their own tests, if they are asked for.
		"unleash", "--exclude-files", "/", "--output", partial, "--invert-logical", "--invert-loopctrl", "--invert-bitwise",
		"--invert-assignments", "--invert-bwassign", "--remove-self-assignments",
		"--workers", strconv.Itoa(r.workers), "--timeout-coefficient", strconv.Itoa(r.patience), "./" + pkg,
	}
	cmd := cage(ctx, program, args...)
	// With a cached result the tests would seem to take no time.
	cmd.Env = append(os.Environ(), "GOFLAGS=-count=1 "+os.Getenv("GOFLAGS"), cagedEnv+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("gremlins: %w", err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return os.Rename(partial, result)
}

// install builds gremlins, once per version.
func (r runner) install(ctx context.Context) (string, error) {
	dir, err := filepath.Abs(filepath.Join(r.dir, version))
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "gremlins")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	cmd := exec.CommandContext(ctx, "go", "install", gremlins+"@"+version)
	cmd.Env = append(os.Environ(), "GOBIN="+dir)
	cmd.Stderr = os.Stderr
	return program, cmd.Run()
}

// download fetches all modules: gremlins does that itself, but the module cache is
// read-only in the cage.
func download(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "mod", "download")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// sumOf returns the checksum of all files of a package, including tests and their data.
func sumOf(pkg string) ([]byte, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, version)
	err := filepath.WalkDir(pkg, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintln(sum, path)
		_, err = io.Copy(sum, f)
		return err
	})
	return sum.Sum(nil), err
}

// mutant is a change in one place, and its result.
type mutant struct {
	File   string `json:"file"`
	Type   string `json:"type"`
	Status string `json:"status"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

func parseResult(pkg string, data []byte) ([]mutant, error) {
	var result struct {
		Files []struct {
			Name      string   `json:"file_name"`
			Mutations []mutant `json:"mutations"`
		} `json:"files"`
	}
	if err := json.Unmarshal(data, &result); err != nil {
		return nil, err
	}
	var all []mutant
	for _, f := range result.Files {
		if strings.Contains(f.Name, "/") { // of a package below this one, or of testdata
			continue
		}
		for _, m := range f.Mutations {
			m.File = filepath.Join(pkg, f.Name)
			all = append(all, m)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no mutants")
	}
	return all, nil
}
