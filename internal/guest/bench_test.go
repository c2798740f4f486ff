package guest_test

import (
	"testing"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agent"
)

// BenchmarkExec is a whole `true`: begin, run, end.
func BenchmarkExec(b *testing.B) {
	link := connect(b, startAgent(b, agent.Options{Root: b.TempDir()}))
	client := &guest.Client{Dial: link.Open}
	for b.Loop() {
		s, err := client.Exec(b.Context(), api.Exec{Argv: []string{"/bin/true"}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}

// BenchmarkHealth is a round trip through the link.
func BenchmarkHealth(b *testing.B) {
	link := connect(b, startAgent(b, agent.Options{Root: b.TempDir()}))
	client := &guest.Client{Dial: link.Open}
	for b.Loop() {
		if _, err := client.Health(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
