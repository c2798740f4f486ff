package api

import (
	"strings"
	"testing"
)

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]Signal{
		"KILL": SignalKill, "SIGKILL": SignalKill, "sigterm": SignalTerm, "Int": SignalInt, "9": SignalKill, "15": SignalTerm,
		"2": SignalInt, "3": SignalQuit, "6": SignalAbrt, "quit": SignalQuit, "SIGABRT": SignalAbrt,
	} {
		got, err := ParseSignal(text)
		if _, ok := got.Number(); err != nil || got != want || !ok {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for text, reason := range map[string]string{
		"STOP": "SIGSTOP to a VMM: it suspends", "19": "SIGSTOP", "sigcont": "SIGCONT", "18": "SIGCONT", "TSTP": "suspends", "HUP": "closed terminal", "1": "SIGHUP",
		"": "not one of", "0": "not one of", "-9": "not one of", "USR1": "not one of", "10": "not one of", "SIG": "not one of", "SIGSIGTERM": "not one of",
		"99999999999999999999": "not one of", "9 ": "not one of", "RTMIN+1": "not one of", strings.Repeat("x", 5000): "not one of",
	} {
		got, err := ParseSignal(text)
		if got != "" || KindOf(err) != KindInvalid || !strings.Contains(err.Error(), reason) || len(err.Error()) > 200 ||
			AsError(err).Hint != "the signals are KILL (the default), ABRT, INT, QUIT, TERM" {
			t.Errorf("%.40q: %q, %v", text, got, err)
		}
	}
	for _, s := range Signals() {
		if got, err := ParseSignal(string(s)); got != s || err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	if len(Signals()) != len(signalNumbers) {
		t.Error("the list lacks one")
	}
}
