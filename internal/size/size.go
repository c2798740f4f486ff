// Package size parses and formats amounts of bytes.
//
// Units are powers of 1024, as in QEMU and the kernel: 4G is 4 GiB. K, M, G and T may
// be followed by "iB" (4GiB) and may be lower case. "4GB" is refused, because it is
// ambiguous; so is a number without a unit.
package size

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// The units.
const (
	KiB int64 = 1 << 10
	MiB int64 = 1 << 20
	GiB int64 = 1 << 30
	TiB int64 = 1 << 40
)

var (
	pattern = regexp.MustCompile(`^([0-9]{1,16}(?:\.[0-9]{1,6})?) ?([kmgt])(i?b?)$`)
	bare    = regexp.MustCompile(`^[0-9]+$`)
)

func unit(letter string) int64 {
	switch letter {
	case "k":
		return KiB
	case "m":
		return MiB
	case "g":
		return GiB
	default:
		return TiB
	}
}

// Parse parses a size such as 4G, 512MiB or 1.5G, and returns it in bytes: always more
// than zero.
func Parse(text string) (int64, error) {
	s := strings.ToLower(strings.TrimSpace(text))
	switch {
	case s == "":
		return 0, fmt.Errorf("the size is empty: use one such as 512M or 4G")
	case strings.HasPrefix(s, "-"):
		return 0, fmt.Errorf("%q is negative: use a size such as 512M or 4G", clip(text))
	case strings.Trim(s, "0.") == "":
		return 0, fmt.Errorf("%q is zero: use a size such as 512M or 4G", clip(text))
	case bare.MatchString(s):
		return 0, fmt.Errorf("%q has no unit: use %sM or %sG", clip(text), clip(s), clip(s))
	}
	m := pattern.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is not a valid size: use one such as 512M or 4G", clip(text))
	}
	number, letter, suffix := m[1], m[2], m[3]
	if suffix == "b" {
		return 0, fmt.Errorf("%q is ambiguous: use %s%siB (powers of 1024)", clip(text), number, strings.ToUpper(letter))
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a valid size: %w", clip(text), err)
	}
	value *= float64(unit(letter))
	switch {
	case value >= math.MaxInt64:
		return 0, fmt.Errorf("%q is too large", clip(text))
	case value < 1:
		return 0, fmt.Errorf("%q is zero: use a size such as 512M or 4G", clip(text))
	}
	return int64(value), nil
}

// clip keeps error messages short.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// Format formats n bytes for people, with at most one decimal: "512 MiB", "1.5 GiB".
func Format(n int64) string {
	switch {
	case n < 0:
		return "-" + Format(-max(n, -math.MaxInt64))
	case n < KiB:
		return fmt.Sprintf("%d B", n)
	}
	for _, u := range []struct {
		size int64
		name string
	}{{TiB, "TiB"}, {GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}} {
		// Rounded to one decimal, 1023.99 MiB becomes 1 GiB.
		if tenths := math.Round(float64(n) / float64(u.size) * 10); tenths >= 10 {
			return strconv.FormatFloat(tenths/10, 'f', -1, 64) + " " + u.name
		}
	}
	return fmt.Sprintf("%d B", n)
}

// Exact formats n bytes so that Parse returns n again, if n is a multiple of 1 KiB:
// "8G", "1536M".
func Exact(n int64) string {
	for _, u := range []struct {
		size   int64
		letter string
	}{{TiB, "T"}, {GiB, "G"}, {MiB, "M"}} {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.letter
		}
	}
	return strconv.FormatInt(n/KiB, 10) + "K"
}
