package script

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"banger/test/harness/fakes"
)

// TestMain is banger, bangerd, a fake VMM and the parts of the image cache that
// run as processes of their own: the test program starts itself as all of them.
func TestMain(m *testing.M) {
	fakes.Become()
	// Sessions wait most of the time: with three for each processor they take half as long.
	_ = flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0)))
	programs := fakes.Programs()
	bangerd := programs["bangerd"]
	programs["bangerd"] = func() {
		diesAtPoints()
		bangerd()
	}
	programs["testport"] = func() { os.Exit(testPort(os.Args[1:])) }
	testscript.Main(m, programs)
}
