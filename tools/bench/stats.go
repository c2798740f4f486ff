package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// summary describes samples.
type summary struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	Min float64 `json:"min"`
	Max float64 `json:"max"`
}

func summarize(samples []float64) summary {
	if len(samples) == 0 {
		return summary{}
	}
	s := slices.Sorted(slices.Values(samples))
	return summary{N: len(s), P50: quantile(s, 0.5), P90: quantile(s, 0.9), Min: s[0], Max: s[len(s)-1]}
}

// quantile interpolates between the two nearest sorted samples (type 7 of Hyndman and
// Fan, the most common one).
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(math.Floor(at))
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

func p99(samples []float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	return quantile(slices.Sorted(slices.Values(samples)), 0.99)
}

func median(samples []float64) float64 { return summarize(samples).P50 }

// difference is the difference or the ratio of two medians, with its 95 % interval.
type difference struct {
	Medians float64 `json:"difference_of_medians"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
}

// resamples is how often the bootstrap draws: enough for two digits.
const resamples = 4000

// compare subtracts b's median from a's.
func compare(a, b []float64) difference {
	return resample(a, b, func(x, y float64) float64 { return x - y })
}

// ratio divides a's median by b's.
func ratio(a, b []float64) difference {
	return resample(a, b, func(x, y float64) float64 { return x / y })
}

// resample combines two medians. Sample i of both was taken in the same round, so the
// bootstrap draws whole rounds: disturbances of both cancel out. It always draws the
// same, so that equal samples give equal results.
func resample(a, b []float64, combine func(x, y float64) float64) difference {
	n := min(len(a), len(b))
	if n == 0 {
		return difference{}
	}
	draw := rand.New(rand.NewPCG(1, 2))
	found := make([]float64, resamples)
	x, y := make([]float64, n), make([]float64, n)
	for i := range found {
		for j := range n {
			k := draw.IntN(n)
			x[j], y[j] = a[k], b[k]
		}
		found[i] = combine(median(x), median(y))
	}
	slices.Sort(found)
	return difference{
		Medians: combine(median(a), median(b)),
		Low:     quantile(found, 0.025), High: quantile(found, 0.975),
	}
}

// What verdict says.
const (
	reached = "reached"
	missed  = "**missed**"
	noise   = "within the noise"
)

// verdict says whether a difference is within an aim, as far as it is certain.
func (d difference) verdict(aim float64) string {
	switch {
	case d.High <= aim:
		return reached
	case d.Low > aim:
		return missed
	}
	return noise
}
