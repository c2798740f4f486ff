package gitrepo

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// large has 10,000 tracked files with 10 kB each, 255 of them changed, and 20,000 ignored ones.
func large(b *testing.B) (*Repo, string) {
	b.Helper()
	dir := newRepo(b)
	text := strings.Repeat("0123456789abcdefghijklmno\n", 400)
	fill := func(above string, count int) {
		for i := range count {
			file := filepath.Join(dir, above, fmt.Sprint("d", i/100), fmt.Sprint("f", i))
			if i%100 == 0 {
				must(b, os.MkdirAll(filepath.Dir(file), 0o755))
			}
			must(b, os.WriteFile(file, []byte(fmt.Sprint(i, text)), 0o644))
		}
	}
	fill("tracked", 10000)
	git(b, dir, "-c", "core.looseCompression=0", "add", "-A")
	git(b, dir, "commit", "-q", "-m", "large")
	fill("ignored", 20000)
	for i := 0; i < 10000; i += 40 {
		write(b, dir, fmt.Sprintf("tracked/d%d/f%d", i/100, i), text)
	}
	return open(b, dir), dir
}

// BenchmarkSnapshot: aim 300 ms.
func BenchmarkSnapshot(b *testing.B) {
	r, dir := large(b)
	i := 0
	for b.Loop() {
		i++
		write(b, dir, "changes", fmt.Sprint(i))
		c, err := r.Snapshot(b.Context(), "dev", "x", Select{})
		if must(b, err); c.N != i {
			b.Fatalf("snapshot %d is %d", i, c.N)
		}
	}
}

// BenchmarkSnapshotUnchanged: aim 200 ms, with opening the repository.
func BenchmarkSnapshotUnchanged(b *testing.B) {
	_, dir := large(b)
	for b.Loop() {
		_, err := open(b, dir).Snapshot(b.Context(), "dev", "x", Select{})
		must(b, err)
	}
}

func BenchmarkWriteTar(b *testing.B) {
	r, _ := large(b)
	for b.Loop() {
		files, err := r.Files(b.Context(), Select{Note: func(string, string) {}})
		must(b, err)
		var n counter
		must(b, r.WriteTar(b.Context(), &n, files, TarOptions{}))
		b.SetBytes(int64(n))
	}
}

// counter counts what is written.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

var _ io.Writer = new(counter)
