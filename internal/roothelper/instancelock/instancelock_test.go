package instancelock

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"banger/api"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("ALONE"); dir != "" {
		holdAlone(dir)
	}
	os.Exit(m.Run())
}

// TestOneHelperAtATime: the next one waits for the one before, which is another process,
// and takes over as soon as that has ended, however it does.
func TestOneHelperAtATime(t *testing.T) {
	dir := t.TempDir()
	first := exec.Command(os.Args[0])
	first.Env = append(os.Environ(), "ALONE="+dir)
	out, err := first.StdoutPipe()
	if err = errors.Join(err, first.Start()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Process.Kill(); _ = first.Wait() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "alone\n" {
		t.Fatalf("%q, %v", line, err)
	}
	began := time.Now()
	_, err = Take(t.Context(), dir, 100*time.Millisecond)
	if api.KindOf(err) != api.KindConflict || !strings.Contains(err.Error(), "process "+strconv.Itoa(first.Process.Pid)) || api.AsError(err).Hint == "" {
		t.Errorf("beside another: %v", err)
	}
	if time.Since(began) > 5*time.Second {
		t.Errorf("it waited for %s", time.Since(began))
	}
	got := make(chan error, 1)
	go func() {
		release, err := Take(context.Background(), dir, 20*time.Second)
		if err == nil {
			err = release()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "lock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can hold the lock: %v, %v", info.Mode(), err)
	}
}

// holdAlone is a helper in a process of its own, which does not end by itself.
func holdAlone(dir string) {
	if _, err := Take(context.Background(), dir, time.Minute); err != nil {
		panic(err)
	}
	os.Stdout.WriteString("alone\n")
	time.Sleep(time.Minute)
	os.Exit(1)
}
