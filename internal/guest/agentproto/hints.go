package agentproto

// The hints that an agent may send (api.Error). The host shows only these: anybody in the
// guest may be its agent, and the user types hints on the host. They are part of the wire
// format: the host does not show a hint of an older agent that is not in the list.
const (
	HintUser      = "--user root, or a number, which need not be in the guest's /etc/passwd"
	HintGroup     = "a number, which need not be in the guest's /etc/group"
	HintUserForm  = "as in: --user www-data, or --user 1000:1000"
	HintEndSome   = "end some of them first"
	HintEndTasks  = "end some of them first: banger vm sessions"
	HintSessions  = "banger vm sessions"
	HintGuestRoom = "remove files in the guest, or create a VM with a larger --disk; a large file goes on where it stopped"
	HintProgram   = "name a program that it has: banger vm exec VM -- PROGRAM"
	HintStdin     = "pass long input on standard input"
	HintPort      = "choose another port, or 0 for a free one" // package forward's
)

// Hints are all of them.
var Hints = []string{HintUser, HintGroup, HintUserForm, HintEndSome, HintEndTasks, HintSessions, HintGuestRoom, HintProgram, HintStdin, HintPort}
