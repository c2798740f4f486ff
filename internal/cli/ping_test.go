package cli

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"banger/api"
)

func TestPingStatistics(t *testing.T) {
	var r round
	if s := r.statistics(); s.LossPercent != 0 || s.MinMS != nil {
		t.Errorf("of none: %+v", s)
	}
	for _, ms := range []int{3, 1, 2, 6} {
		r.add(time.Duration(ms)*time.Millisecond, true)
	}
	r.add(0, false)
	s := r.statistics()
	if s.Sent != 5 || s.Received != 4 || s.LossPercent != 20 || *s.MinMS != 1 || *s.MaxMS != 6 || *s.AvgMS != 3 ||
		math.Abs(*s.MdevMS-math.Sqrt(3.5)) > 1e-9 {
		t.Errorf("%+v, min %v avg %v max %v mdev %v", s, *s.MinMS, *s.AvgMS, *s.MaxMS, *s.MdevMS)
	}
	var equal round // rounding must not make the root that of a negative number
	for range 7 {
		equal.add(100001*time.Nanosecond, true)
	}
	if s := equal.statistics(); math.IsNaN(*s.MdevMS) || *s.MdevMS > 1e-6 {
		t.Errorf("mdev of equal times: %v", *s.MdevMS)
	}
}

// TestPingCounts: what is lost is counted, what Ctrl-C interrupts is not, and a deleted VM ends it.
func TestPingCounts(t *testing.T) {
	for name, c := range map[string]struct {
		answers        []error
		count          int
		sent, received int
	}{
		"all":     {[]error{nil, nil, nil}, 3, 3, 3},
		"one":     {[]error{nil, errors.New("hangs"), nil}, 3, 3, 2},
		"none":    {[]error{errors.New("hangs")}, 1, 1, 0},
		"deleted": {[]error{nil, api.Errorf(api.KindNotFound, "VM dev was deleted")}, 0, 2, 1},
		"ctrl-c":  {[]error{nil, nil}, 0, 2, 2},
	} {
		var out bytes.Buffer
		p := pinging{a: &app{std: &streams{out: &out}}, name: "dev", count: c.count, interval: leastPing, timeout: time.Minute}
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		err := p.each(ctx, func(context.Context) (time.Duration, error) {
			if asked++; asked > len(c.answers) {
				cancel()
				return 0, ctx.Err()
			}
			return time.Millisecond, c.answers[asked-1]
		})
		cancel()
		if err != nil || p.sent != c.sent || p.received != c.received || strings.Count(out.String(), "answer from dev: seq=") != c.sent {
			t.Errorf("%s: sent %d, received %d, %v:\n%s", name, p.sent, p.received, err, out.String())
		}
	}
}
