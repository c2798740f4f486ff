package tsc

import (
	"runtime"
	"testing"
)

func TestMeasurementsAgree(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		if khz := KHz(); khz != 0 {
			t.Errorf("%d kHz on a processor without the counter", khz)
		}
		return
	}
	a, b := KHz(), KHz()
	if a < 100_000 || a > 20_000_000 {
		t.Errorf("%d kHz is no frequency of a processor", a)
	}
	// 500 ppm is what the kernel takes for a deviating clock (NTP's limit).
	if d := a - b; d > a/2000 || d < -a/2000 {
		t.Errorf("%d kHz and %d kHz were measured", a, b)
	}
	t.Log(a, b)
}
