package script

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"banger/test/harness/fakes"
)

// TestMain is banger, bangerd, a fake VMM and the parts of the image cache that
// run as processes of their own: the test program starts itself as all of them.
func TestMain(m *testing.M) {
	fakes.Become()
	programs := fakes.Programs()
	bangerd := programs["bangerd"]
	programs["bangerd"] = func() {
		diesAtPoints()
		bangerd()
	}
	programs["testport"] = func() { os.Exit(testPort(os.Args[1:])) }
	testscript.Main(m, programs)
}
