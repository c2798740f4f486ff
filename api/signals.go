package api

import (
	"slices"
	"strconv"
	"strings"
)

// Signal is a signal that ends a VMM, by its name without SIG. Others are not sent to one.
type Signal string

// The signals. A VMM cannot catch SIGKILL; QEMU ends orderly by SIGTERM and SIGINT, and without
// shutting its guest down. The others let it leave a core dump where the host allows that.
const (
	SignalKill Signal = "KILL"
	SignalTerm Signal = "TERM"
	SignalInt  Signal = "INT"
	SignalQuit Signal = "QUIT"
	SignalAbrt Signal = "ABRT"
)

// signalNumbers are those of Linux on all architectures of banger (signal(7)).
var signalNumbers = map[Signal]int{SignalKill: 9, SignalTerm: 15, SignalInt: 2, SignalQuit: 3, SignalAbrt: 6}

// Signals returns all of them, the default first.
func Signals() []Signal {
	return []Signal{SignalKill, SignalTerm, SignalInt, SignalQuit, SignalAbrt}
}

// Number returns the signal's number; ok reports whether it is one of Signals.
func (s Signal) Number() (n int, ok bool) {
	n, ok = signalNumbers[s]
	return n, ok
}

// refusedSignals are signals that people may want to send, by their number, with the reason why they are
// not sent.
var refusedSignals = map[int]struct{ name, reason string }{
	19: {"STOP", suspends}, 20: {"TSTP", suspends}, 21: {"TTIN", suspends}, 22: {"TTOU", suspends},
	18: {"CONT", "a VMM that banger runs is not suspended by a signal"},
	1:  {"HUP", "it tells of a closed terminal, which a VMM does not have"},
}

const suspends = "it suspends the VMM without its guest noticing, whose clock and connections then stand still"

// ParseSignal returns the signal that a user names: "TERM", "SIGTERM", "term" or "15".
func ParseSignal(text string) (Signal, error) {
	name := Signal(strings.TrimPrefix(strings.ToUpper(text), "SIG"))
	number, err := strconv.Atoi(text)
	for known, n := range signalNumbers {
		if name == known || err == nil && n == number {
			return known, nil
		}
	}
	for n, refused := range refusedSignals {
		if string(name) == refused.name || err == nil && n == number {
			return "", Errorf(KindInvalid, "cannot send SIG%s to a VMM: %s", refused.name, refused.reason).WithHint("%s", signalHint())
		}
	}
	return "", Errorf(KindInvalid, "cannot send %.40q to a VMM: it is not one of the signals that end one", text).WithHint("%s", signalHint())
}

func signalHint() string {
	names := make([]string, 0, len(signalNumbers))
	for _, s := range slices.Sorted(slices.Values(Signals()[1:])) {
		names = append(names, string(s))
	}
	return "the signals are KILL (the default), " + strings.Join(names, ", ")
}

// SignalVM sends a signal to the VMM of a running VM, and waits for its end.
type SignalVM struct {
	Signal string `json:"signal"` // as ParseSignal reads it
}
