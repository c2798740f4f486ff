package agent

import (
	"os"
	"path/filepath"
	"testing"

	"banger/api"
)

func TestNetworkOf(t *testing.T) {
	dir := t.TempDir()
	if got := *NetworkOf(dir, "eth0"); got != (api.GuestNetwork{}) {
		t.Errorf("without a device: %+v", got)
	}
	stats := filepath.Join(dir, "eth0", "statistics")
	if err := os.MkdirAll(stats, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := *NetworkOf(dir, "eth0"); got != (api.GuestNetwork{Device: "eth0"}) {
		t.Errorf("a device that is down: %+v", got)
	}
	for name, text := range map[string]string{
		"../carrier": "1\n", "rx_bytes": "9223372036854775807\n", "rx_packets": "2\n", "tx_bytes": "3\n", "tx_packets": "nonsense\n",
	} {
		if err := os.WriteFile(filepath.Join(stats, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := api.GuestNetwork{Device: "eth0", Up: true, RxBytes: 1<<63 - 1, RxPackets: 2, TxBytes: 3}
	if got := *NetworkOf(dir, "eth0"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestDiskOf(t *testing.T) {
	if d := diskOf(t.TempDir()); d == nil || d.Bytes <= 0 || d.AvailableBytes < 0 || d.AvailableBytes > d.Bytes {
		t.Errorf("%+v", d)
	}
	if d := diskOf("/nonexistent"); d != nil {
		t.Errorf("%+v", d)
	}
}
