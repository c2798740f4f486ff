package roothelper

import (
	"errors"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/host/blockdev"
	"banger/internal/rootapi"
)

func TestAttachedDisks(t *testing.T) {
	w := newFixture(t)
	for want, c := range map[rootapi.Device]struct {
		mode  string
		files int
	}{
		{Name: "dm-0", Major: 252}: {rootapi.Snapshot, 2}, {Name: "loop0", Major: 7}: {rootapi.Plain, 1},
	} {
		var got rootapi.Device
		if w.must(rootapi.DiskAttachCall{VM: of(vm), Mode: c.mode}, &got, w.logs[:c.files]...); got != want {
			t.Errorf("%s: %+v", c.mode, got)
		}
	}
}

// TestStatusOfDisks: the kernel counts in sectors, the answer in bytes.
func TestStatusOfDisks(t *testing.T) {
	w := newFixture(t)
	for want, usage := range map[string]blockdev.Usage{
		"":                           {Used: 3, Total: 8},
		"could not write":            {Used: 3, Total: 8, Invalid: true},
		"copy-on-write file is full": {Used: 3, Total: 8, Overflow: true},
	} {
		w.blocks.usage = usage
		var got rootapi.DiskUsage
		w.must(rootapi.DiskStatusCall{VM: of(vm)}, &got)
		if got.UsedBytes != 1536 || got.TotalBytes != 4096 || !strings.Contains(got.Broken, want) || (got.Broken == "") != (want == "") {
			t.Errorf("%+v, want %q", got, want)
		}
	}
	w.blocks.fails = errors.New("no such device")
	w.refuses(api.KindInternal, rootapi.DiskStatusCall{VM: of(vm)})
}
