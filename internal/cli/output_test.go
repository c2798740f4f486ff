package cli

import (
	"bytes"
	"testing"
	"time"

	"banger/api"
	"banger/internal/golden"
)

func TestTables(t *testing.T) {
	now := then.Add(3 * time.Hour)
	started := now.Add(-90 * time.Second)
	running, hostile := vm("brave-otter", api.StateRunning), vm("x", api.StateFailed)
	running.StartedAt = &started
	hostile.Accel, hostile.Image = "", "é\x1b[2J\n"
	images := []api.Image{
		{Digest: "sha256:aabbccddeeff0011", Names: []string{"debian", "dev"}, Source: "debian 12", SizeBytes: 200 << 20, CreatedAt: then, UsedBy: []string{"a", "b", "c"}},
		{Digest: "sha256:112233445566", SizeBytes: 1 << 30},
	}
	kernels := []api.Kernel{{Digest: "sha256:aabbccddeeff0011", Release: "6.1.0-37-cloud-amd64", Source: "package", SizeBytes: 60 << 20, CreatedAt: then}}
	busy := vm("web-1", api.StateRunning)
	busy.StartedAt, busy.Address, busy.Labels = &started, "10.213.0.3", map[string]string{"team": "web", "note": "a\u00a0b"}
	for i := range 4 {
		busy.Publish = append(busy.Publish, api.PublishedPort{Address: []string{"127.0.0.1", "0.0.0.0"}[i%2], HostPort: 8080 + i, GuestPort: 80 + i, Protocol: "tcp"})
	}
	for name, table := range map[string]*table{
		"vms_ports.txt": vmTable([]api.VM{running, busy}, now, false), "vms_wide.txt": vmTable([]api.VM{running, busy}, now, true),
		"vms.txt": vmTable([]api.VM{running, hostile}, now, false), "images.txt": imageTable(images, now), "kernels.txt": kernelTable(kernels, now),
	} {
		var out bytes.Buffer
		if err := table.write(&out); err != nil {
			t.Fatal(err)
		}
		golden.Check(t, name, out.String())
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	if err := printJSON(&out, "vm", vm("dev", api.StateRunning)); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "vm.json", out.String())
}

func TestErrorsAreOneLineAndHints(t *testing.T) {
	err := api.Errorf(api.KindTimeout, "cannot start VM: the guest said:\n  \x1b[2Jpanic").WithHint("banger vm logs dev\nbanger doctor")
	want := "banger: cannot start VM: the guest said:\n  ?[2Jpanic\n  try: banger vm logs dev\n  try: banger doctor\n"
	if got := renderError(err); got != want {
		t.Errorf("got %q", got)
	}
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 seconds", time.Second: "1 second", 90 * time.Second: "1 minute", 47 * time.Hour: "47 hours", 72 * time.Hour: "3 days",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%s) = %q; want %q", d, got, want)
		}
	}
}

func TestImageNameOfAFile(t *testing.T) {
	for path, want := range map[string]string{"/x/Alpine-3.20.tar.gz": "alpine-3.20", "root.tgz": "root", "a": "a", "b.tar.zst": "b"} {
		if got := nameOf(path); got != want {
			t.Errorf("nameOf(%q) = %q; want %q", path, got, want)
		}
	}
}
