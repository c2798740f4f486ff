package execx

import (
	"testing"

	"banger/api"
)

// TestAFullDiskIsRecognised: as programs in C and in Go say it.
func TestAFullDiskIsRecognised(t *testing.T) {
	for text, want := range map[string]api.Kind{
		"fatal: unable to write: No space left on device": api.KindNoSpace,
		"write x: no space left on device":                api.KindNoSpace,
		"cp: error writing 'x': Disk quota exceeded":      api.KindNoSpace,
		"cannot write": api.KindInternal,
	} {
		err := Run(t.Context(), Cmd{Name: "sh", Args: []string{"-c", "echo \"$1\" >&2; exit 1", "sh", text}})
		if api.KindOf(err) != want {
			t.Errorf("%q is of kind %s: %v", text, api.KindOf(err), err)
		}
	}
}
