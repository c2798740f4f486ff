package agentproto

// What an agent may say to type next (api.Error). The host shows these and no other
// text: anybody in the guest may be its agent, and what is typed is typed on the host.
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
