package blobs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"banger/api"
	"banger/internal/host/fsx/synctest"
	"banger/internal/host/userns"
	"banger/internal/image/oci"
)

func TestMain(m *testing.M) {
	userns.Main(map[string]userns.Job{jobFullDisk: runFullDisk})
	firstWait = time.Millisecond
	goleak.VerifyTestMain(m, synctest.Leak)
}

func silent(api.Progress) {}

// data is what the tests' blobs hold.
func data(n int) []byte { return bytes.Repeat([]byte("0123456789abcdef"), n/16) }

func blobOf(b []byte) Blob { return Blob{Digest: oci.Digest(b), Size: int64(len(b))} }

// server is a source that cuts its bodies after so many bytes each.
type server struct {
	data    []byte
	cut     int
	noRange bool
	mu      sync.Mutex
	asked   []int64
}

func (s *server) open(_ context.Context, offset int64) (io.ReadCloser, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, offset)
	if s.noRange {
		offset = 0
	}
	rest := s.data[offset:]
	if s.cut > 0 && len(rest) > s.cut {
		return io.NopCloser(io.MultiReader(bytes.NewReader(rest[:s.cut]), failing{})), offset, nil
	}
	return io.NopCloser(bytes.NewReader(rest)), offset, nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, Temporary{errors.New("connection reset")} }

func get(t *testing.T, s *Store, b Blob, source Source) error {
	t.Helper()
	err := s.Get(t.Context(), b, source, silent)
	if err != nil {
		return err
	}
	r, err := s.Open(b.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || oci.Digest(got) != b.Digest {
		t.Errorf("the blob that is there is another: %v", err)
	}
	return nil
}

func left(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name()[:8]+filepath.Ext(e.Name()))
	}
	return strings.Join(names, " ")
}

// TestResume has the connection break again and again: each goes on where the
// last one ended, and as long as something comes, that may be often.
func TestResume(t *testing.T) {
	s, d := Open(t.TempDir()), data(12<<20)
	src := &server{data: d, cut: 1 << 20}
	if err := get(t, s, blobOf(d), src.open); err != nil {
		t.Fatal(err)
	}
	if len(src.asked) != 12 || src.asked[11] != 11<<20 {
		t.Errorf("asked for %v", src.asked)
	}
	// The second time nobody is asked.
	if err := get(t, s, blobOf(d), nil); err != nil {
		t.Error(err)
	}
}

// TestGivesUp has nothing new come: that is bounded, keeps what came, and a later
// attempt, of another process, goes on with it.
func TestGivesUp(t *testing.T) {
	dir, d := t.TempDir(), data(1<<20)
	src := &server{data: d, cut: 1000, noRange: true}
	err := get(t, Open(dir), blobOf(d), src.open)
	if !errors.As(err, new(Temporary)) || len(src.asked) != attempts {
		t.Fatalf("%d attempts, then: %v", len(src.asked), err)
	}
	if got := left(t, dir); !strings.HasSuffix(got, ".part") {
		t.Errorf("left: %s", got)
	}
	s := Open(dir)
	if n := s.Missing(blobOf(d)); n != 1<<20-1000 {
		t.Errorf("missing %d", n)
	}
	src = &server{data: d}
	if err := get(t, s, blobOf(d), src.open); err != nil || len(src.asked) != 1 || src.asked[0] != 1000 {
		t.Errorf("asked for %v: %v", src.asked, err)
	}
	if n := s.Missing(blobOf(d)); n != 0 {
		t.Errorf("missing %d", n)
	}
}

// TestNoRange has a server that sends everything each time.
func TestNoRange(t *testing.T) {
	dir, d := t.TempDir(), data(1<<20)
	if err := os.WriteFile(Open(dir).path(blobOf(d).Digest)+partSuffix, d[:500], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := get(t, Open(dir), blobOf(d), (&server{data: d, noRange: true}).open); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedPart is a part whose bytes the host's crash has lost, or that has
// too many: it begins anew, once.
func TestDamagedPart(t *testing.T) {
	d := data(1 << 20)
	for name, part := range map[string][]byte{"zeroes": make([]byte, 5000), "too long": make([]byte, 2<<20), "whole": make([]byte, 1<<20)} {
		t.Run(name, func(t *testing.T) {
			s := Open(t.TempDir())
			if err := os.WriteFile(s.path(blobOf(d).Digest)+partSuffix, part, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := get(t, s, blobOf(d), (&server{data: d}).open); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestWrongDigest(t *testing.T) {
	dir, d := t.TempDir(), data(1<<20)
	src := &server{data: bytes.ToUpper(d)}
	err := get(t, Open(dir), blobOf(d), src.open)
	if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "wrong digest") || len(src.asked) != 1 {
		t.Errorf("asked %d times: %v", len(src.asked), err)
	}
	if got := left(t, dir); got != "" {
		t.Errorf("left: %s", got)
	}
}

// TestDamagedBlob is a blob that somebody has changed: it is got anew.
func TestDamagedBlob(t *testing.T) {
	dir, d := t.TempDir(), data(1<<20)
	if err := get(t, Open(dir), blobOf(d), (&server{data: d}).open); err != nil {
		t.Fatal(err)
	}
	for _, damaged := range [][]byte{bytes.ToUpper(d), d[:7]} {
		if err := os.WriteFile(Open(dir).path(blobOf(d).Digest), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := get(t, Open(dir), blobOf(d), (&server{data: d}).open); err != nil {
			t.Error(err)
		}
	}
}

// TestTogether has several want the same blob at the same time.
func TestTogether(t *testing.T) {
	s, d := Open(t.TempDir()), data(1<<20)
	src := &server{data: d}
	begun, go_ := make(chan struct{}), make(chan struct{})
	slow := func(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
		close(begun)
		<-go_
		return src.open(ctx, offset)
	}
	var wait sync.WaitGroup
	joined := make(chan struct{}, 8)
	for n := range 4 {
		wait.Go(func() {
			source := slow
			if n > 0 {
				<-begun
				source = src.open
			}
			joined <- struct{}{}
			if err := s.Get(t.Context(), blobOf(d), source, silent); err != nil {
				t.Error(err)
			}
		})
	}
	for range 4 {
		<-joined
	}
	close(go_)
	wait.Wait()
	if len(src.asked) != 1 {
		t.Errorf("asked %d times", len(src.asked))
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := data(1 << 20)
	err := Open(t.TempDir()).Get(ctx, blobOf(d), func(context.Context, int64) (io.ReadCloser, int64, error) {
		cancel()
		return nil, 0, Temporary{errors.New("broken")}
	}, silent)
	if api.KindOf(err) != api.KindCanceled {
		t.Error(err)
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir)
	prune := func(s *Store, dry bool, need func(string) bool) (p api.Pruned, err error) {
		err = s.Prune(dry, need, &p)
		return p, err
	}
	if p, err := prune(Open(filepath.Join(dir, "none")), false, nil); err != nil || len(p.Removed) > 0 {
		t.Errorf("nothing there: %v %v", p, err)
	}
	needed, held, idle := data(1<<20), data(2<<20), data(3<<20)
	for _, d := range [][]byte{needed, held, idle} {
		if err := get(t, s, blobOf(d), (&server{data: d}).open); err != nil {
			t.Fatal(err)
		}
	}
	part := s.path(oci.Digest(nil)) + partSuffix
	for _, file := range []string{part, filepath.Join(dir, "README")} {
		if err := os.WriteFile(file, make([]byte, 5000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	release := s.Hold(blobOf(held).Digest)
	need := func(digest string) bool { return digest == blobOf(needed).Digest }
	dry, err := prune(s, true, need)
	if err != nil {
		t.Fatal(err)
	}
	p, err := prune(s, false, need)
	if err != nil || len(p.Removed) != 2 || p.ReclaimedBytes < 3<<20 || !reflect.DeepEqual(p, dry) {
		t.Errorf("%+v %v, a dry run said %+v", p, err, dry)
	}
	release()
	if p, err := prune(s, false, need); err != nil || len(p.Removed) != 1 {
		t.Errorf("%+v %v", p, err)
	}
	if s.Missing(blobOf(needed)) != 0 || s.Missing(blobOf(held)) == 0 {
		t.Error("what is needed went, or what is not stayed")
	}
	if _, err := os.Stat(filepath.Join(dir, "README")); err != nil {
		t.Error("what is not ours went")
	}
}

func TestBadDigest(t *testing.T) {
	for _, digest := range []string{"", "sha256:../../etc/passwd", "sha512:" + strings.Repeat("0", 128)} {
		if err := Open(t.TempDir()).Get(t.Context(), Blob{Digest: digest}, nil, silent); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%s: %v", digest, err)
		}
		if _, err := Open(t.TempDir()).Open(digest); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%s: %v", digest, err)
		}
	}
}
