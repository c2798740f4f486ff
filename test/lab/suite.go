package lab

import (
	"bytes"

	"banger/test/lab/suites"
)

// suite returns the scenario that runs a test program in the lab.
func suite(name string) func(*Lab) {
	return func(l *Lab) {
		for _, s := range suites.All {
			if s.Name != name {
				continue
			}
			var out bytes.Buffer
			result, err := s.Do(l.ctx, l.conn, &out)
			if err != nil {
				l.Failf("%v\n%s", err, out.String())
			}
			if result.Passed == 0 {
				l.Failf("the suite %s ran no test\n%s", name, out.String())
			}
			return
		}
		l.Failf("there is no suite %s", name)
	}
}
