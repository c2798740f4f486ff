package lab

import (
	"bytes"
	"strings"

	"banger/test/lab/suites"
)

// Sessions are the script sessions that run in the lab, as in user mode. The suite
// 4-sessions-all has the others.
var Sessions = []string{
	"vm_list", "vm_start_stop", "vm_logs", "vm_exec", "vm_exec_signals", "vm_shell", "vm_cp",
	"busybox", "commit", "daemon_killed", "four", "noshell", "interrupt_run", "up", "up_cache", "up_dockerfile", "pause",
}

// sessions are scenarios of one session each, so that one whose guest reset itself is
// tried again without the others.
func sessions() []Scenario {
	var all []Scenario
	for _, name := range Sessions {
		all = append(all, Scenario{Name: "session-" + strings.ReplaceAll(name, "_", "-"), Run: only("4-sessions", "^TestSessions$/^"+name+"$")})
	}
	return all
}

// suite returns the scenario that runs a test program in the lab.
func suite(name string) func(*Lab) { return only(name, "") }

// only returns the scenario that runs some tests of a suite, or all.
func only(name, tests string) func(*Lab) {
	return func(l *Lab) {
		for _, s := range suites.All {
			if s.Name != name {
				continue
			}
			if tests != "" {
				s.Run = tests
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
		l.Failf("suite %s does not exist", name)
	}
}
