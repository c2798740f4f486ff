package main

import (
	"math"
	"testing"
)

func TestSummarize(t *testing.T) {
	for _, c := range []struct {
		samples []float64
		want    summary
	}{
		{nil, summary{}},
		{[]float64{7}, summary{N: 1, P50: 7, P90: 7, Min: 7, Max: 7}},
		{[]float64{4, 1, 3, 2}, summary{N: 4, P50: 2.5, P90: 3.7, Min: 1, Max: 4}},
		{[]float64{5, 1, 2, 3, 4}, summary{N: 5, P50: 3, P90: 4.6, Min: 1, Max: 5}},
	} {
		got := summarize(c.samples)
		if math.Abs(got.P90-c.want.P90) > 1e-9 {
			t.Errorf("p90 of %v: %v, want %v", c.samples, got.P90, c.want.P90)
		}
		if got.P90 = c.want.P90; got != c.want {
			t.Errorf("%v: %+v, want %+v", c.samples, got, c.want)
		}
	}
}

// What disturbs a whole round disturbs both ways of it: the difference stays.
func TestCompareKeepsRounds(t *testing.T) {
	var a, b []float64
	for i := range 21 {
		noise := float64(i * i * 10)
		a, b = append(a, 105+noise), append(b, 100+noise)
	}
	d := compare(a, b)
	if d.Medians != 5 || d.Low != 5 || d.High != 5 {
		t.Errorf("%+v, want 5 throughout", d)
	}
	if again := compare(a, b); again != d {
		t.Errorf("the same samples give %+v, then %+v", d, again)
	}
	if none := compare(nil, b); none != (difference{}) {
		t.Errorf("without samples: %+v", none)
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		d    difference
		want string
	}{
		{difference{1, 0, 2}, "reached"},
		{difference{5, 4, 6}, "**missed**"},
		{difference{2, -100, 100}, "within the noise"},
	} {
		if got := c.d.verdict(3); got != c.want {
			t.Errorf("%v: %s, want %s", c.d, got, c.want)
		}
	}
}
