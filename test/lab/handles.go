package lab

import "fmt"

// handles returns the scenario in which something happens to handles.json while the
// daemon is restarted: it is rebuilt, and never obeyed.
func handles(change string) func(*Lab) {
	return func(l *Lab) {
		l.Start("web")
		web := l.Fingerprint("web")
		path := fmt.Sprintf("/var/lib/banger/data/vms/%s/handles.json", l.VM("web").ID)
		good := l.Run("cat %s", path)
		l.Run("systemctl stop bangerd")
		l.Run(change, path)
		l.Run("systemctl start bangerd")
		l.Answering()
		l.Unharmed("web", web)
		l.Equal("what handles.json holds again", l.Run("cat %s", path), good)
		l.NoLeaks()
		l.Dev("banger vm stop web")
		l.NoLeaks()
	}
}
