package api

// Action is what the operations of a kind do, in the words of errors and messages: users
// never read a kind itself.
type Action struct {
	Verb   string // "start", as in "cannot start VM dev"
	Doing  string // "starting", as in "VM dev is busy (starting)"
	Object string // "the VM", which follows the verb if the error names no object
}

// String returns the action with its object, such as "starting the VM".
func (a Action) String() string { return a.Doing + " " + a.Object }

// Request returns the action with its object as a request, such as "start the VM".
func (a Action) Request() string { return a.Verb + " " + a.Object }

var actions = map[string]Action{
	"vm.create":      {"create", "creating", "the VM"},
	"vm.run":         {"start", "starting", "the VM"},
	"vm.start":       {"start", "starting", "the VM"},
	"vm.stop":        {"stop", "stopping", "the VM"},
	"vm.restart":     {"restart", "restarting", "the VM"},
	"vm.kill":        {"kill", "killing", "the VM"},
	"vm.pause":       {"pause", "pausing", "the VM"},
	"vm.resume":      {"resume", "resuming", "the VM"},
	"vm.suspend":     {"suspend", "suspending", "the VM"},
	"vm.snapshot":    {"make a snapshot of", "making a snapshot", "the VM"},
	"vm.delete":      {"delete", "deleting", "the VM"},
	"vm.commit":      {"commit", "committing", "the VM"},
	"vm.rename":      {"rename", "renaming", "the VM"},
	"vm.set":         {"change", "changing", "the VM"},
	"vm.publish":     {"change the ports of", "publishing", "the VM"},
	"vm.recover":     {"recover", "recovering", "the VM"},
	"vm.prune":       {"prune", "pruning", "VMs"},
	"image.pull":     {"pull", "pulling", "the image"},
	"image.import":   {"import", "importing", "the image"},
	"image.prune":    {"prune", "pruning", "images and kernels"},
	"image.register": {"register", "registering", "the image"},
	"image.promote":  {"copy", "copying", "the image"},
	"kernel.pull":    {"pull", "pulling", "the kernel"},
	"kernel.import":  {"import", "importing", "the kernel"},
	"image.tag":      {"tag", "tagging", "the image"},
	"image.delete":   {"delete", "deleting", "the image"},
	"kernel.delete":  {"delete", "deleting", "the kernel"},
}

// ActionOf returns what an operation of a kind does. The kind may be one of a newer version.
func ActionOf(kind string) Action {
	if a, ok := actions[kind]; ok {
		return a
	}
	return Action{"change", "changing", "an object of another version of banger"}
}
