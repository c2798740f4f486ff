package client

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
)

// guestOf returns the guest of an agent whose root is a directory of this host.
func guestOf(t *testing.T, root string) *Guest {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- agent.Serve(ctx, agent.Options{Root: root}, agent.FromListener(l)) }()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	within, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	link, err := guest.Connect(within, conn, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		link.Close()
		cancel()
		<-served
		l.Close()
	})
	g := &Guest{agent: guest.Client{Dial: link.Open}}
	g.newest.Store(&opened{id: "id", name: "dev"})
	return g
}

// TestTreesOfGuests lists, watches and changes a directory of a guest.
func TestTreesOfGuests(t *testing.T) {
	root := t.TempDir()
	g := guestOf(t, root)
	if err := os.MkdirAll(filepath.Join(root, "work/.git"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	change := TreeChange{Path: "in/file", Type: TreeFile, Mode: 0o750, Size: 4, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("text")), nil
	}}
	link := TreeChange{Path: "link", Type: TreeLink, Link: "in"}
	var placed []TreePlaced
	place := func(changes ...TreeChange) error {
		placed = nil
		return g.Place(ctx, "/work", slices.Values(changes), func(p TreePlaced) error {
			placed = append(placed, p)
			return nil
		})
	}
	enough := errors.New("enough")
	var dirs []string
	err := g.Watch(ctx, "/work", TreeWatch{Skip: []string{".git"}}, func(e TreeEvent) error {
		if e.Ready {
			return place(change, link, change)
		}
		if dirs = append(dirs, e.Dirs...); slices.Contains(dirs, "in") {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || !slices.Contains(dirs, ".") {
		t.Fatalf("%q, %v", dirs, err)
	}
	if len(placed) != 3 || placed[0].Err != nil || placed[1].Err != nil || api.KindOf(placed[2].Err) != api.KindConflict {
		t.Fatalf("%+v", placed)
	}
	var listed []TreeEntry
	if err := g.Tree(ctx, "/work", TreeOptions{}, func(e TreeEntry) error {
		if e.Type != TreeDir {
			listed = append(listed, e)
		}
		return nil
	}); err != nil || !slices.Equal(listed, []TreeEntry{placed[0].Entry, placed[1].Entry}) {
		t.Errorf("%v\nlisted %+v\nplaced %+v", err, listed, placed)
	}
	if err := place(TreeChange{Path: "in/file", Expect: placed[0].Entry}); err != nil || placed[0].Err != nil {
		t.Fatalf("%+v, %v", placed, err)
	}
	if _, err := os.Lstat(filepath.Join(root, "work/in")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty directory stays: %v", err)
	}
}
