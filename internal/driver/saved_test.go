package driver_test

import (
	"strings"
	"testing"

	"banger/api"
	"banger/internal/driver"
)

// TestJudge: a counter may be measured a little differently, and all differences are said at once.
func TestJudge(t *testing.T) {
	then := driver.Provenance{VMM: "qemu", Version: "7.2.22 (Debian 1)", Accel: "tcg", TSCKHz: 2_000_000, VCPUs: 1, MemoryBytes: 1 << 30}
	for khz, fits := range map[int64]bool{0: true, 2_000_000: true, 2_020_000: true, 1_980_000: true, 2_020_001: false, 1_900_000: false} {
		now := then
		now.TSCKHz = khz
		if err := then.Judge(now); (err == nil) != fits {
			t.Errorf("%d kHz: %v", khz, err)
		}
	}
	now := then
	now.Version, now.VCPUs = "7.2.23 (Debian 1)", 2
	err := then.Judge(now)
	if api.KindOf(err) != api.KindUnsupported {
		t.Fatal(err)
	}
	for _, want := range []string{`"7.2.22 (Debian 1)", and is "7.2.23 (Debian 1)" now`, `vCPUs was "1", and is "2" now`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}
