package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"banger/api"
	"banger/internal/faultpoint"
	"banger/internal/host/userns"
)

const jobFullDisk = "test-full-disk"

// placesIn is the variable that makes the test program an agent, for one request on its standard
// input. Its value is the directory.
const placesIn = "MANIFEST_TEST_PLACES_IN"

func TestMain(m *testing.M) {
	userns.Main(map[string]userns.Job{jobFullDisk: runFullDisk})
	if dir := os.Getenv(placesIn); dir != "" {
		if err := Place(context.Background(), os.Stdin, os.Stdout, dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// requestOf is a request for Place.
func requestOf(t testing.TB, changes ...Change) []byte {
	t.Helper()
	var b bytes.Buffer
	c := NewChanges()
	must(t, c.Send(&b, func(yield func(Change) bool) {
		for _, change := range changes {
			if !yield(change) {
				return
			}
		}
	}))
	return b.Bytes()
}

// killedAt has an agent make changes that is killed at a point.
func killedAt(t *testing.T, point, dir string, changes ...Change) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "point")
	must(t, os.WriteFile(file, []byte(point), 0o600))
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), placesIn+"="+dir, faultpoint.Env+"="+file)
	cmd.Stdin = bytes.NewReader(requestOf(t, changes...))
	out, err := cmd.CombinedOutput()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("at %q it was not killed: %v, %q", point, err, out)
	}
}

// temporaries returns the temporary files of a directory.
func temporaries(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, Temporary+"*"))
	must(t, err)
	return names
}

// TestKilledAgents: the path is as before or as after, what is left is in no list, and the next
// agent removes it, but for a version that nobody else has.
func TestKilledAgents(t *testing.T) {
	for name, c := range map[string]struct {
		point  string
		change func(Entry) Change
		want   string // of the file; empty: there is none
	}{
		"before it is replaced": {"place made file", func(e Entry) Change { return toFile("in/file", e, "host's") }, "old"},
		"exchanged":             {"place exchanged file", func(e Entry) Change { return toFile("in/file", e, "host's") }, "host's"},
		"removed":               {"place moved file", func(e Entry) Change { return Change{Path: "in/file", Expect: e} }, ""},
	} {
		for _, changed := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", changed), func(t *testing.T) {
				dir := t.TempDir()
				in := filepath.Join(dir, "in")
				must(t, os.Mkdir(in, 0o755))
				must(t, os.WriteFile(filepath.Join(in, "file"), []byte("old"), 0o644))
				killedAt(t, c.point, dir, c.change(entryAt(t, dir, "in/file")))
				left := temporaries(t, in)
				if len(left) != 1 {
					t.Fatalf("%q is left", left)
				}
				want := "\"in\" dir\n"
				if c.want != "" {
					want += fmt.Sprintf("\"in/file\" 644 %q\n", c.want)
				}
				if got := treeText(t, dir); got != want {
					t.Errorf("the list is\n%s, want\n%s", got, want)
				}
				if changed { // in the moment before
					must(t, os.WriteFile(left[0], []byte("user's"), 0o644))
				}
				must(t, place(t, dir, toFile("in/next", Entry{}, "next")))
				if left := temporaries(t, in); len(left) > 0 {
					t.Errorf("%q is left", left)
				}
				// What was not exchanged yet is the host's, and nobody else knew its name.
				if got := strings.Join(recovered(t, in), " "); (got == "user's") != (changed && c.point != "place made file") {
					if !changed || c.point != "place made file" || got != "" {
						t.Errorf("recovered is %q", got)
					}
				}
			})
		}
	}
}

// TestTemporaryNames: those of this agent stay, as another request may use them; those that mean
// nothing are files of somebody else.
func TestTemporaryNames(t *testing.T) {
	dir := t.TempDir()
	ours := newTemporary().name
	others := []string{Temporary, Temporary + "x", Temporary + "x.y.z", Temporary + "x.1.a.b.c.d.e.!", "x" + ours}
	for _, name := range append(others, ours, Temporary+"OTHER.1", Temporary+"OTHER.1.1.1.1.1.1.1") {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	if got := len(listed(t, dir, Options{})); got != len(others) {
		t.Errorf("%d names are listed, %d should", got, len(others))
	}
	must(t, os.Mkdir(filepath.Join(dir, Temporary+"OTHER.2"), 0o700))
	must(t, place(t, dir, toFile("file", Entry{}, "text")))
	for _, name := range append(others, ours) {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if got := len(temporaries(t, dir)); got != len(others)+1 { // "x"+ours is none, the directory is
		t.Errorf("%q are left", temporaries(t, dir))
	}
	if got := recovered(t, dir); len(got) != 1 {
		t.Errorf("%d are recovered", len(got))
	}
	long := newTemporary().mark(identity{1<<64 - 1, -1 << 63, 1<<63 - 1}, identity{1<<64 - 1, -1 << 63, 1<<63 - 1})
	if again, of, ok := parseTemporary(long.name); !ok || of != run() || again != long || len(long.name) > 255 {
		t.Errorf("%+v is read as %+v", long, again)
	}
}

// TestFullDisk places files on a file system that is too small for them.
func TestFullDisk(t *testing.T) {
	if err := userns.Run(t.Context(), userns.Call{Job: jobFullDisk, Args: []string{t.TempDir()}}); err != nil {
		t.Error(err)
	}
}

func runFullDisk(ctx context.Context, args []string, _ func(any)) error {
	dir := args[0]
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return err
	}
	noise := make([]byte, 700<<10)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(noise)
	large := func(name string, expect Entry) Change { return toFile(name, expect, string(noise)) }
	all, err := placeNow(ctx, dir, large("in/a", Entry{}), large("other/b", Entry{}), toFile("small", Entry{}, "x"))
	if err != nil || all[0].Err != nil || all[2].Err != nil || api.KindOf(all[1].Err) != api.KindNoSpace ||
		all[1].Err.Error() != "cannot write other/b in the guest: its disk is full: no space left on device" {
		return fmt.Errorf("got %v, %v", all, err)
	}
	if got := paths(listedIn(dir)); strings.Join(got, " ") != "in in/a small" {
		return fmt.Errorf("there is %q", got)
	}
	// A file is not lost for want of space for the next version; what is removed makes room.
	small, a := all[2].Entry, all[0].Entry
	all, err = placeNow(ctx, dir, large("small", small), Change{Path: "in/a", Expect: a}, large("small", small))
	if err != nil || api.KindOf(all[0].Err) != api.KindNoSpace || all[1].Err != nil || all[2].Err != nil {
		return fmt.Errorf("got %v, %v", all, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "small"))
	if err != nil || !bytes.Equal(text, noise) {
		return fmt.Errorf("%d bytes, %w", len(text), err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		return fmt.Errorf("there is %v, %w", names, err)
	}
	return nil
}

// placeNow is placed outside of a test.
func placeNow(ctx context.Context, dir string, changes ...Change) (all []Placed, err error) {
	var asked, answer bytes.Buffer
	c := NewChanges()
	err = errors.Join(c.Send(&asked, func(yield func(Change) bool) {
		for _, change := range changes {
			if !yield(change) {
				return
			}
		}
	}), Place(ctx, &asked, &answer, dir))
	return all, errors.Join(err, c.Receive(&answer, func(p Placed) error {
		all = append(all, p)
		return nil
	}))
}

func listedIn(dir string) (all []Entry) {
	var b bytes.Buffer
	if List(context.Background(), &b, dir, Options{}) == nil {
		all, _ = entries(b.Bytes(), Options{})
	}
	return all
}

// TestPlaceIsCut: if the host goes away in the middle of a content, nothing is left of it.
func TestPlaceIsCut(t *testing.T) {
	whole := requestOf(t, toFile("a", Entry{}, "text"), toFile("in/b", Entry{}, strings.Repeat("x", 100_000)))
	first := len(requestOf(t, toFile("a", Entry{}, "text")))
	for _, cut := range []int{first + 1, first + 8, first + 20, first + 50_000, len(whole) - 1} {
		dir := t.TempDir()
		if err := Place(t.Context(), bytes.NewReader(whole[:cut]), io.Discard, dir); !errors.Is(err, ErrCut) {
			t.Errorf("%d bytes: %v", cut, err)
		}
		checkTree(t, dir, "\"a\" 644 \"text\"\n")
	}
}

// TestPlaceLeavesNoFilesOpen: of the agent, whatever became of the changes.
func TestPlaceLeavesNoFilesOpen(t *testing.T) {
	dir := t.TempDir()
	before := openFiles(t)
	var changes []Change
	for n := range 2 * batchSize {
		changes = append(changes, toFile(fmt.Sprintf("d%d/f", n), Entry{}, "x"), toFile(fmt.Sprintf("d%d/f", n), Entry{}, "y"),
			Change{Path: fmt.Sprintf("d%d/f", n), Expect: Entry{Type: File}})
	}
	placed(t, dir, changes...)
	request := requestOf(t, changes...)
	_ = Place(t.Context(), bytes.NewReader(request[:len(request)/2]), failingWriter{}, dir)
	if after := openFiles(t); after != before {
		t.Errorf("%d files are open, before it were %d", after, before)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
