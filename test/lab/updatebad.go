package lab

import "banger/test/lab/versions"

// updateBad returns the scenario of a version that is not proven: everything is rolled
// back automatically, and the outcome contains the reason.
func updateBad(version, reason string) func(*Lab) {
	return func(l *Lab) {
		l.begin(versions.Base, versions.Later)
		g := l.startGuests("web", "db")
		installed, vms := l.installed(), l.vms()
		r := l.Try("banger update --settle 6s --to %s", version)
		l.Equal("the status of the update", r.Status, 1)
		account := l.last()
		l.Contains("the reason", account.Reason, reason)
		for _, part := range []string{"cannot update to " + version, "it was rolled back", account.Reason} {
			l.Contains("the outcome", r.Output, part)
		}
		if len(account.Problems) > 0 {
			l.Failf("the rollback had problems: %q", account.Problems)
		}
		l.asBefore(installed, vms)
		l.guestsUnharmed(g)
		// Afterwards it can be updated to a good version.
		l.offer(versions.Offers)
		l.Run(updateTo + versions.Good)
		l.isVersion(versions.Good)
		l.guestsUnharmed(g)
	}
}

// asBefore ends the scenario if a failed update has changed something.
func (l *Lab) asBefore(installed, vms string) {
	l.Answering()
	l.isVersion(versions.Base)
	l.Equal("what the update changed", diff(installed, l.installed()), "")
	l.Equal("what is known of the VMs", l.vms(), vms)
}
