package vm

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"

	"banger/internal/driver"
	"banger/internal/host/console"
	"banger/internal/paths"
)

// panicWords is the beginning of Linux's message for a panic (kernel/panic.c); an init
// that has ended is one of its reasons (kernel/exit.c).
var panicWords = regexp.MustCompile(`Kernel panic - not syncing: ([^\r\n]{1,100})`)

// bootWords is an early message of the agent in every boot: what is before it on a
// console is another boot's.
var bootWords = []byte("banger-agent: root ")

// panicLines is more than the number of lines after panicWords: registers and a stack.
const panicLines = 120

// whyPanicked returns why a guest's kernel panicked, or "" if it did not. It restarts
// the machine then, which ends the VMM as an orderly restart does.
func (s *Service) whyPanicked(id string, exit driver.Exit) string {
	if exit.Message != "" || exit.Code != 0 && exit.Code != unknown {
		return "" // the VMM has its own story
	}
	tail, _ := console.Tail(filepath.Join(s.Paths.VM(id), paths.VMConsole), panicLines)
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
