package qemu_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/driver"
	"banger/internal/driver/qemu"
	"banger/internal/guest/agentproto"
	"banger/internal/host/fsx"
	"banger/internal/host/proc"
	"banger/internal/paths"
)

// saveEnv has what saveMain is to save.
const saveEnv = "BANGER_QEMU_SAVE"

type toSave struct{ ID, Dir, To string }

// saveMain returns immediately, unless this process was started to save a machine as a daemon does.
func saveMain() {
	var s toSave
	if json.Unmarshal([]byte(os.Getenv(saveEnv)), &s) != nil {
		return
	}
	d := qemu.New(paths.Paths{Cache: os.TempDir()}, qemu.Options{Accel: qemu.TCG})
	m, err := d.Recover(context.Background(), s.ID, s.Dir, nil)
	if err == nil {
		err = m.(driver.Saver).Save(context.Background(), s.To)
	}
	fmt.Fprintln(os.Stderr, "saved:", err)
	os.Exit(0)
}

// saving waits until files are written to dir, and returns the saver.
func saving(t *testing.T, w *fsx.Watcher, dir string) *proc.Process {
	t.Helper()
	for {
		if _, err := os.Lstat(filepath.Join(dir, driver.SavedMemory)); err == nil {
			break
		}
		if err := w.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	found, err := proc.Find(t.Context(), func(args []string) bool { return slices.Contains(args, "dir="+dir) })
	if err != nil || len(found) != 1 {
		t.Fatalf("%d savers, %v", len(found), err)
	}
	return found[0]
}

func watched(t *testing.T) (string, *fsx.Watcher) {
	t.Helper()
	dir := t.TempDir()
	w, err := fsx.NewWatcher()
	if err == nil {
		_, err = w.Add(dir, unix.IN_CREATE)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return dir, w
}

// answering fails unless the guest answers.
func answering(t *testing.T, m driver.Machine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := m.DialGuest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, _, err := agentproto.Greet(ctx, conn, agentproto.NewHello("test", time.Now())); err != nil {
		t.Fatal(err)
	}
}

// TestKilledWhileSaving: whoever is killed while a machine is saved, it continues.
func TestKilledWhileSaving(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: real guests")
	}
	s := spec(t, "00000000000a")
	m, err := newDriver(t).Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	defer m.Kill(context.WithoutCancel(t.Context()))
	answering(t, m)
	t.Run("the saver", func(t *testing.T) {
		dir, w := watched(t)
		done := make(chan error, 1)
		go func() { done <- m.(driver.Saver).Save(t.Context(), dir) }()
		saver := saving(t, w, dir)
		defer saver.Close()
		if err := saver.Kill(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err == nil || !strings.Contains(err.Error(), "has ended") {
			t.Errorf("saved by a process that was killed: %v", err)
		}
		continues(t, m, dir)
	})
	t.Run("the daemon", func(t *testing.T) {
		dir, w := watched(t)
		text, err := json.Marshal(toSave{s.ID, s.Dir, dir})
		if err != nil {
			t.Fatal(err)
		}
		daemon := exec.CommandContext(t.Context(), os.Args[0])
		daemon.Env = append(os.Environ(), saveEnv+"="+string(text))
		daemon.Stderr = os.Stderr
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		saver := saving(t, w, dir)
		defer saver.Close()
		if err := daemon.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = daemon.Wait() // it was killed
		<-saver.Done()
		continues(t, m, dir)
	})
}

// continues fails unless the machine runs and what was saved cannot be used.
func continues(t *testing.T, m driver.Machine, dir string) {
	t.Helper()
	if why, err := m.(driver.Stander).Standing(t.Context()); why != "" || err != nil {
		t.Errorf("it stands: %s, %v", why, err)
	}
	answering(t, m)
	if _, err := os.Lstat(filepath.Join(dir, driver.SavedManifest)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a manifest is left: %v", err)
	}
}
