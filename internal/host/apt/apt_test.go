package apt

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/host/execx"
	"banger/test/harness"
)

// TestHost uses the host's real apt and its sources. It fetches into the
// shared test cache, so a second run costs nothing.
func TestHost(t *testing.T) {
	if _, err := execx.LookPath("apt-get", ""); err != nil {
		t.Skip("NOT TESTED: package sources, because this host has no apt-get")
	}
	a := New(filepath.Join(testCache(t), "apt"))
	ctx := context.Background()
	report := func(p api.Progress) { t.Log(p.Step, p.Message, p.Done, p.Total, p.Unit) }
	if err := a.Update(ctx, false, report); err != nil {
		t.Fatal(err)
	}
	sources, err := a.Sources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(Deb822(sources))
	options, err := a.AcquireOptions(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(strings.Join(options, "\n"))
	dir := t.TempDir()
	debs, err := a.Download(ctx, []string{"hostname"}, dir, report)
	if err != nil {
		t.Fatal(err)
	}
	if len(debs) != 1 {
		t.Fatalf("got %v, want one file", debs)
	}
	if info, err := os.Stat(debs[0]); err != nil || info.Size() == 0 {
		t.Errorf("the downloaded file: %v, %v", info, err)
	}
	depends, err := a.Depends(ctx, "hostname")
	if err != nil || len(depends) == 0 || depends[0] != "libc6" {
		t.Errorf("hostname depends on %v, %v", depends, err)
	}
	if _, err := a.Depends(ctx, "no-such-package-exists"); api.KindOf(err) != api.KindNotFound {
		t.Errorf("an unknown package: %v", err)
	}
}

// testCache returns the directory that all tests share, and keeps it for this one.
func testCache(t *testing.T) string {
	t.Helper()
	unlock, err := harness.Lock(harness.KernelLock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unlock)
	dir, err := harness.Cache()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
