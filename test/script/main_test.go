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
	programs := fakes.Programs()
	bangerd := programs["bangerd"]
	programs["bangerd"] = func() {
		diesAtPoints()
		bangerd()
	}
	programs["testport"] = func() { os.Exit(testPort(os.Args[1:])) }
	testscript.Main(sessions{m}, programs)
}

// sessions is testing.M, with more sessions at a time in short.
type sessions struct{ *testing.M }

// Run runs the sessions. With -short, three run at a time for each processor: they wait most of the time, and so take
// half as long. Without it the sessions with real guests run at the same time, which need the processors.
func (s sessions) Run() int {
	flag.Parse()
	if testing.Short() {
		_ = flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0)))
	}
	return s.M.Run()
}
