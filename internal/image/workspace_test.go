package image

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"banger/api"
)

// TestWorksTakeTurns: what makes an image or a disk waits while as many are made as may be,
// says so, and can be cancelled.
func TestWorksTakeTurns(t *testing.T) {
	c := open(t)
	source := save(t, busybox(t))
	img, err := c.Import(t.Context(), api.ImportImage{Path: source, Name: "b"}, silent)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, work := range map[string]func(context.Context, api.Report) error{
		"an archive": func(ctx context.Context, report api.Report) error {
			_, err := c.Import(ctx, api.ImportImage{Path: source, Name: "b"}, report)
			return err
		},
		"an ext4 file": func(ctx context.Context, report api.Report) error {
			_, err := c.Import(ctx, api.ImportImage{Path: c.records.Path(img.Digest[7:], rootfsFile), Name: "e"}, report)
			return err
		},
		"a directory": func(ctx context.Context, report api.Report) error {
			_, err := c.Import(ctx, api.ImportImage{Path: dir, Name: "d"}, report)
			return err
		},
		"a disk": func(ctx context.Context, report api.Report) error {
			_, err := c.Disk(ctx, img.Digest, 1<<30, report)
			return err
		},
	} {
		leave := c.maker.work.turns.Force()
		ctx, cancel := context.WithCancel(t.Context())
		waits := make(chan string, 100)
		report := func(p api.Progress) { waits <- p.Message }
		done := make(chan error, 1)
		go func() { done <- work(ctx, report) }()
		for said := ""; said != "waiting: other images are being made"; {
			select {
			case said = <-waits:
			case err := <-done:
				t.Fatalf("%s did not wait: %v", name, err)
			}
		}
		cancel()
		if err := <-done; api.KindOf(err) != api.KindCanceled {
			t.Errorf("%s: %v", name, err)
		}
		leave()
		if err := work(t.Context(), silent); err != nil {
			t.Errorf("%s, later: %v", name, err)
		}
	}
}
