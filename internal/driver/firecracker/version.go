package firecracker

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"banger/api"
)

// The programs' names in their own output.
const (
	Firecracker = "Firecracker"
	Jailer      = "Jailer"
)

// Version is a version of Firecracker or its jailer. Suffix is the text after the numbers, as
// in 1.17.0-dev; it does not affect the order.
type Version struct {
	Major, Minor, Patch int
	Suffix              string
}

func (v Version) String() string {
	return fmt.Sprintf("%d.%d.%d%s", v.Major, v.Minor, v.Patch, v.Suffix)
}

// Compare orders versions by their numbers.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Major, w.Major), cmp.Compare(v.Minor, w.Minor), cmp.Compare(v.Patch, w.Patch))
}

// numbers matches a version: three numbers and an optional suffix.
const numbers = `([0-9]{1,5})\.([0-9]{1,5})\.([0-9]{1,5})([-+][0-9A-Za-z.+-]{1,64})?`

// versionLine matches the first line of the programs' output: "Firecracker v1.14.2".
var versionLine = regexp.MustCompile(`^([A-Za-z]+) v(` + numbers + `)$`)

var versionText = regexp.MustCompile(`^v?` + numbers + `$`)

// Parse reads a version such as 1.16.1 or v1.16.1, and reports whether text is one.
func Parse(text string) (v Version, ok bool) {
	m := versionText.FindStringSubmatch(text)
	if m == nil {
		return Version{}, false
	}
	for i, number := range []*int{&v.Major, &v.Minor, &v.Patch} {
		*number, _ = strconv.Atoi(m[i+1]) // the pattern allows at most 5 digits
	}
	v.Suffix = m[4]
	return v, true
}

// ParseVersion reads the output of a program (Firecracker or Jailer) for --version.
func ParseVersion(program, output string) (Version, error) {
	line, _, _ := strings.Cut(output, "\n")
	line = strings.TrimSuffix(line, "\r")
	m := versionLine.FindStringSubmatch(line)
	if m == nil || m[1] != program {
		return Version{}, api.Errorf(api.KindUnsupported, "cannot determine the version of %s: its output is %.80q", strings.ToLower(program), line).
			WithHint("%s --version must begin with a line such as: %s v1.16.1", strings.ToLower(program), program)
	}
	v, _ := Parse(m[2]) // the pattern guarantees a version
	return v, nil
}
