package lab

import "banger/test/lab/versions"

// updateBad returns the scenario of a version that does not prove itself: everything
// becomes as it was, by itself, and the account names the reason.
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
			l.Contains("the account", r.Output, part)
		}
		if len(account.Problems) > 0 {
			l.Failf("the way back had problems: %q", account.Problems)
		}
		l.asBefore(installed, vms)
		l.guestsUnharmed(g)
		// It can be updated to a good one afterwards.
		l.offer(versions.Offers)
		l.Run(updateTo + versions.Good)
		l.isVersion(versions.Good)
		l.guestsUnharmed(g)
	}
}

// asBefore ends the scenario where an update that was not made has changed something.
func (l *Lab) asBefore(installed, vms string) {
	l.Answering()
	l.isVersion(versions.Base)
	l.Equal("what the update changed", diff(installed, l.installed()), "")
	l.Equal("what is known of the VMs", l.vms(), vms)
}
