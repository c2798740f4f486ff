package main

import (
	"strings"
	"testing"
)

// TestTally: what passed is counted, what failed or did not end has its output, and what
// was skipped its reason. The last line has the counts alone.
func TestTally(t *testing.T) {
	const events = `{"Action":"output","Package":"p","Test":"A","Output":"nobody needs it\n"}
{"Action":"pass","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Test":"B","Output":"=== RUN   B\n"}
{"Action":"output","Package":"p","Test":"B","Output":"    x_test.go:7: needs root\n"}
{"Action":"skip","Package":"p","Test":"B"}
{"Action":"output","Package":"p","Test":"C","Output":"one is not two\n"}
{"Action":"fail","Package":"p","Test":"C"}
{"Action":"pass","Package":"q","Elapsed":1.25}
{"Action":"output","Package":"p","Test":"D","Output":"panic: nil map\n"}
{"Action":"fail","Package":"p"}
# r: a build error
`
	const want = `FAIL  p C
one is not two
ok    q                                           1.2s
FAIL  p 
p D:
panic: nil map
# r: a build error
skipped: p B: x_test.go:7: needs root
1 passed, 1 failed, 1 skipped
`
	var out strings.Builder
	tally := newTally(&out)
	tally.read(strings.NewReader(events))
	tally.close()
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
}
