package instance

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"banger/api"
	"banger/internal/driver"
	"banger/internal/host/console"
)

// panicWords is the beginning of Linux's message for a panic (kernel/panic.c); an init
// that has ended is one of its reasons (kernel/exit.c).
var panicWords = regexp.MustCompile(`Kernel panic - not syncing: ([^\r\n]{1,100})`)

// bootWords is an early message of the agent in every boot: what is before it on a
// console is another boot's.
var bootWords = []byte("banger-agent: root ")

// panicLines is more than the number of lines after panicWords: registers and a stack.
const panicLines = 120

// unknown is the exit status of a VMM that is not a child of this process.
const unknown = -1

// lastKernelWords is Linux's message on every console, "quiet" or not, before it
// reboots or powers off (kernel/reboot.c, pr_emerg).
var lastKernelWords = regexp.MustCompile(`(?m)\breboot: (Restarting system|Power down)`)

// WhyEnded returns why an instance's VMM has ended, and the state that its VM is in after that.
func (s *Instances) WhyEnded(i *Instance) (after api.State, why string) {
	if why = i.knownReason(); why != "" {
		return api.StateStopped, why
	}
	if why = s.whyPanicked(i.id, i.machine.Exit()); why != "" {
		return api.StateFailed, why
	}
	return api.StateStopped, s.whyEnded(i.id, i.machine.Exit())
}

// whyEnded returns why a VMM has ended without a request. If its status is
// unknown, the guest's console shows it.
func (s *Instances) whyEnded(id string, exit driver.Exit) string {
	off := exit.Code == 0
	if exit.Code == unknown {
		tail, _ := console.Tail(s.console(id), 2)
		off = lastKernelWords.Match(tail)
	}
	if off && exit.Message == "" {
		return "the guest powered off"
	}
	return "the VMM ended" + Describe(exit)
}

// whyPanicked returns why a guest's kernel panicked, or "" if it did not. It restarts
// the machine then, which ends the VMM as an orderly restart does.
func (s *Instances) whyPanicked(id string, exit driver.Exit) string {
	if exit.Message != "" || exit.Code != 0 && exit.Code != unknown {
		return "" // the VMM has its own story
	}
	tail, _ := console.Tail(s.console(id), panicLines)
	if at := bytes.LastIndex(tail, bootWords); at >= 0 {
		tail = tail[at:]
	}
	found := panicWords.FindSubmatch(tail)
	if found == nil {
		return ""
	}
	words := strings.TrimSpace(console.Sanitize(string(found[1])))
	if strings.HasPrefix(words, "Attempted to kill init") {
		return "the guest's init ended: " + words
	}
	return "the guest's kernel panicked: " + words
}

// Describe returns how a VMM has ended, as the end of a sentence; "" if there is nothing to say.
func Describe(x driver.Exit) string {
	text := ""
	if x.Code > 0 {
		text = fmt.Sprintf(" with status %d", x.Code)
	}
	if x.Message != "" {
		text += ": " + x.Message
	}
	return text
}
