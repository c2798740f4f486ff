package guest_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
	"banger/internal/host/userns"
)

const jobFullDisk = "test-full-disk"

// TestCopyOutFullDisk copies out of a guest onto a file system that is too small, in a
// mount namespace of its own: the error says what helps, and it helps.
func TestCopyOutFullDisk(t *testing.T) {
	if err := userns.Run(t.Context(), userns.Call{Job: jobFullDisk, Args: []string{t.TempDir(), t.TempDir()}}); err != nil {
		t.Error(err)
	}
}

func runFullDisk(ctx context.Context, args []string, _ func(any)) error {
	dir, root := args[0], args[1]
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		return err
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 4<<16)
	if err := os.WriteFile(filepath.Join(root, "file"), data, 0o644); err != nil {
		return err
	}
	return withAgent(ctx, root, func(client *guest.Client) error {
		to := filepath.Join(dir, "copy")
		err := client.CopyOut(ctx, "/file", to, guest.CopyOptions{})
		e := api.AsError(err)
		if e == nil || e.Kind != api.KindNoSpace || !strings.Contains(e.Message, "cannot copy /file to "+to) || !strings.Contains(e.Hint, "free space on this host and copy again") {
			return fmt.Errorf("got %v, want an error of kind no_space that names the file and says what helps", err)
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
			return err
		}
		if err := client.CopyOut(ctx, "/file", to, guest.CopyOptions{}); err != nil {
			return fmt.Errorf("when there is room: %w", err)
		}
		if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, data) {
			return fmt.Errorf("it is another: %v", err)
		}
		return nil
	})
}

// withAgent calls do with a client of an agent whose guest is the directory root.
func withAgent(ctx context.Context, root string, do func(*guest.Client) error) error {
	l, err := net.Listen("unix", filepath.Join(root, "a.sock"))
	if err != nil {
		return err
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- agent.Serve(ctx, agent.Options{Root: root, BootID: "b1"}, agent.FromListener(l)) }()
	defer func() { cancel(); <-served }()
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		return err
	}
	link, err := guest.Connect(ctx, conn, "test")
	if err != nil {
		return err
	}
	defer link.Close()
	return do(&guest.Client{Dial: link.Open})
}
