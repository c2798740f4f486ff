package firecracker

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"banger/api"
)

// The programs, as they call themselves.
const (
	Firecracker = "Firecracker"
	Jailer      = "Jailer"
)

// Version is that of Firecracker or its jailer. Suffix is what follows the
// numbers, as in 1.17.0-dev; it says nothing of age.
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

// numbers is a version as text: three numbers, and perhaps a suffix.
const numbers = `([0-9]{1,5})\.([0-9]{1,5})\.([0-9]{1,5})([-+][0-9A-Za-z.+-]{1,64})?`

// versionLine is the first line that the programs write: "Firecracker v1.14.2".
var versionLine = regexp.MustCompile(`^([A-Za-z]+) v(` + numbers + `)$`)

var versionText = regexp.MustCompile(`^v?` + numbers + `$`)

// Parse reads a version such as 1.16.1 or v1.16.1, and tells whether it is one.
func Parse(text string) (v Version, ok bool) {
	m := versionText.FindStringSubmatch(text)
	if m == nil {
		return Version{}, false
	}
	for i, number := range []*int{&v.Major, &v.Minor, &v.Patch} {
		*number, _ = strconv.Atoi(m[i+1]) // at most 5 digits: the pattern says so
	}
	v.Suffix = m[4]
	return v, true
}

// ParseVersion reads what a program (Firecracker or Jailer) writes when asked by
// --version.
func ParseVersion(program, output string) (Version, error) {
	line, _, _ := strings.Cut(output, "\n")
	line = strings.TrimSuffix(line, "\r")
	m := versionLine.FindStringSubmatch(line)
	if m == nil || m[1] != program {
		return Version{}, api.Errorf(api.KindUnsupported, "cannot tell the version of %s: it says %.80q", strings.ToLower(program), line).
			WithHint("%s --version must begin with a line such as: %s v1.16.1", strings.ToLower(program), program)
	}
	v, _ := Parse(m[2]) // which the pattern says it is
	return v, nil
}
