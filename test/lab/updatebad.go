package lab

import "banger/test/lab/versions"

// updateBad returns the scenario of a version that is not proven: everything is rolled
// back automatically, and the outcome contains the reason.
func updateBad(version, reason string) func(*Lab) {
	return func(l *Lab) {
		u := begin(l, versions.Base, versions.Later)
		g := startGuests(l, "web", "db")
		installed, vms := u.installed(), u.vms()
		r := l.Try("banger update --settle 6s --to %s", version)
		l.Equal("the status of the update", r.Status, 1)
		account := u.last()
		l.Contains("the reason", account.Reason, reason)
		for _, part := range []string{"cannot update to " + version, "it was rolled back", account.Reason} {
			l.Contains("the outcome", r.Output, part)
		}
		if len(account.Problems) > 0 {
			l.Failf("the rollback had problems: %q", account.Problems)
		}
		u.asBefore(installed, vms)
		g.unharmed()
		// Afterwards it can be updated to a good version.
		u.server.offer(versions.Offers)
		l.Run(updateTo + versions.Good)
		u.isVersion(versions.Good)
		g.unharmed()
	}
}

// asBefore ends the scenario if a failed update has changed something.
func (u update) asBefore(installed, vms string) {
	u.lab.Answering()
	u.isVersion(versions.Base)
	u.lab.Equal("what the update changed", diff(installed, u.installed()), "")
	u.lab.Equal("what is known of the VMs", u.vms(), vms)
}
