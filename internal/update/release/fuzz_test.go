package release

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzParseInfo: what is taken names a version that is safe as a directory's
// name, and says the same after it was written again.
func FuzzParseInfo(f *testing.F) {
	f.Fuzz(func(t *testing.T, custom []byte) {
		i, err := ParseInfo(custom)
		if err != nil {
			return
		}
		if filepath.Base(i.Version) != i.Version || strings.HasPrefix(i.Version, ".") || Compare(i.Version, i.Version) != 0 {
			t.Errorf("it took version %q", i.Version)
		}
		goos, goarch, _ := strings.Cut(i.Platform, "/")
		if name := Target(i.Version, goos, goarch); filepath.Base(name) != name {
			t.Errorf("an archive is called %q", name)
		}
		again, err := json.Marshal(i)
		if err != nil {
			return // a year that JSON does not write (time.Time.MarshalJSON)
		}
		j, err := ParseInfo(again)
		if err != nil || j.Version != i.Version || j.Commit != i.Commit || !j.BuiltAt.Equal(i.BuiltAt) || j.Platform != i.Platform {
			t.Errorf("%s became %+v, %v", again, j, err)
		}
	})
}
