package records

import (
	"math/rand/v2"
	"regexp"

	"banger/api"
	"banger/internal/vmid"
)

// A name is a DNS label (RFC 1123, section 2.1), in lower case.
var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckName refuses text that is not a valid name of a VM.
func CheckName(name string) error {
	switch {
	case !label.MatchString(name):
		return api.Errorf(api.KindInvalid, "cannot use %.80q as a name: a name is 1 to 63 lower-case letters, digits and inner hyphens", name).
			WithHint("choose a name such as dev or web-1")
	case vmid.Valid(name):
		return api.Errorf(api.KindInvalid, "cannot use %q as a name: it looks like a VM's id", name)
	}
	return nil
}

// randomName returns an adjective and a noun.
func randomName() string {
	return adjectives[rand.IntN(len(adjectives))] + "-" + nouns[rand.IntN(len(nouns))]
}

var adjectives = [...]string{
	"amber", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosy", "crisp",
	"curious", "deft", "eager", "early", "fair", "fast", "fine", "fond", "free", "fresh",
	"gentle", "glad", "golden", "grand", "green", "happy", "hardy", "honest", "jolly", "keen",
	"kind", "light", "lively", "lucky", "mellow", "merry", "mild", "neat", "nimble", "noble",
	"patient", "plucky", "polite", "proud", "quick", "quiet", "ready", "royal", "sharp", "shiny",
	"silent", "smart", "snug", "solid", "steady", "sunny", "swift", "tidy", "warm", "wise",
}

var nouns = [...]string{
	"acorn", "badger", "beacon", "birch", "bison", "brook", "canyon", "cedar", "cloud", "comet",
	"coral", "crane", "delta", "dune", "eagle", "ember", "falcon", "fern", "finch", "fjord",
	"forest", "fox", "glacier", "grove", "harbor", "hawk", "hazel", "heron", "island", "jay",
	"lake", "lark", "lion", "maple", "marten", "meadow", "moon", "moss", "oak", "ocean",
	"orchid", "osprey", "otter", "owl", "pebble", "pine", "planet", "puffin", "raven", "reef",
	"river", "robin", "salmon", "seal", "spruce", "stone", "tiger", "valley", "willow", "wren",
}
