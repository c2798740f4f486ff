package kernel

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/apt"
	"banger/internal/execx"
	"banger/internal/paths"
	"banger/test/harness"
)

// testCache opens the cache that all tests share, with the distribution's
// kernel in it.
func testCache(t *testing.T) (*Cache, api.Kernel) {
	t.Helper()
	if _, err := execx.LookPath("apt-get", ""); err != nil {
		t.Skip("NOT TESTED: the distribution's kernel, because this host has no apt-get")
	}
	dir, err := harness.Cache()
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := harness.Lock(harness.KernelLock)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	p := paths.Paths{Data: filepath.Join(dir, "data"), Cache: dir, Config: dir}
	c, err := Open(p, apt.New(p.Apt()))
	if err != nil {
		t.Fatal(err)
	}
	k, err := c.Pull(context.Background(), api.PullKernel{}, func(p api.Progress) {
		if !strings.HasPrefix(p.Message, "fetching") && !strings.HasPrefix(p.Message, "downloading") {
			t.Log(p.Message)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, k
}

func TestDistributionKernel(t *testing.T) {
	c, k := testCache(t)
	again, err := c.Get(k.Release)
	if err != nil || again.Digest != k.Digest {
		t.Errorf("by release: %v, %v", again, err)
	}
	t.Logf("%+v", k)
}
