package filecopy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"banger/api"
	"banger/internal/host/userns"
)

const jobFullDisk = "test-full-disk"

func TestMain(m *testing.M) {
	userns.Main(map[string]userns.Job{jobFullDisk: runFullDisk})
	goleak.VerifyTestMain(m)
}

// TestFullDisk copies a tree onto a file system that is too small for it, in a mount
// namespace of its own, where an ordinary user, too, may mount a tmpfs.
func TestFullDisk(t *testing.T) {
	from := filepath.Join(t.TempDir(), "tree")
	must(t, os.Mkdir(from, 0o755))
	must(t, os.WriteFile(filepath.Join(from, "a"), []byte("small"), 0o644))
	must(t, os.WriteFile(filepath.Join(from, "b"), noise(t, 6<<20), 0o644))
	if err := userns.Run(t.Context(), userns.Call{Job: jobFullDisk, Args: []string{t.TempDir(), from}}); err != nil {
		t.Error(err)
	}
}

func runFullDisk(ctx context.Context, args []string, _ func(any)) error {
	dir, from := args[0], args[1]
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		return err
	}
	_, err := copyTree(ctx, from, dir)
	if KindOf(err) != api.KindNoSpace || !strings.Contains(err.Error(), "tree/b") {
		return fmt.Errorf("got %v, want an error of kind no_space that names the file", err)
	}
	// What came whole is there; of a large file there is what came, under another name.
	part := filepath.Join(dir, "tree", partName("b"))
	info, err := os.Stat(part)
	if err != nil || info.Size() < keepFrom {
		return fmt.Errorf("what has come is not kept: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "tree", "b")); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("half a file has its name: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "tree", "a")); err != nil || string(got) != "small" {
		return fmt.Errorf("the file before it: %q %v", got, err)
	}
	if _, err := copyTree(ctx, from, dir); KindOf(err) != api.KindNoSpace {
		return fmt.Errorf("on a disk that is still full: %v", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=16m"); err != nil {
		return err
	}
	if info, err = os.Stat(part); err != nil {
		return err
	}
	sent, err := copyTree(ctx, from, dir)
	if err != nil {
		return fmt.Errorf("when there is room: %w", err)
	}
	if most := 6<<20 - info.Size() + 64<<10; sent > most {
		return fmt.Errorf("it began anew: %d bytes came, %d were missing", sent, most)
	}
	want, err := os.ReadFile(filepath.Join(from, "b"))
	if err != nil {
		return err
	}
	if got, err := os.ReadFile(filepath.Join(dir, "tree", "b")); err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("it is another: %v", err)
	}
	if _, err := os.Lstat(part); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the part is left: %v", err)
	}
	return smallOnFull(ctx, dir, from)
}

// smallOnFull: of a small file that does not fit nothing is left.
func smallOnFull(ctx context.Context, dir, from string) error {
	to := filepath.Join(dir, "other")
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		return err
	}
	defer ballast.Close()
	for err == nil {
		_, err = ballast.Write(make([]byte, 4096))
	}
	if _, err := copyTree(ctx, filepath.Join(from, "a"), to); KindOf(err) != api.KindNoSpace {
		return fmt.Errorf("a small file on a full disk: %v", err)
	}
	if left, err := os.ReadDir(to); err != nil || len(left) > 0 {
		return fmt.Errorf("left: %v %v", left, err)
	}
	return nil
}

// copyTree copies as both ends of a session do, and says what the source has sent and
// how it went for the receiver.
func copyTree(ctx context.Context, from, dir string) (int64, error) {
	down, downW := io.Pipe()
	up, upW := io.Pipe()
	c := &cable{w: downW}
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		_ = Send(ctx, up, c, from, filepath.Base(from), nil) // fails where nobody reads on
		downW.Close()
	}()
	err := Receive(down, upW, dir, filepath.Base(from), Options{}, nil)
	down.Close()
	upW.Close()
	<-sending
	return c.sent, err
}
