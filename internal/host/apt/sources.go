package apt

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"banger/api"
)

// Source is one of the distribution's own package sources.
type Source struct {
	Origin     string // Debian or Ubuntu
	URI        string
	Suite      string // such as bookworm-security
	Codename   string
	Components []string
	// SignedBy is the keyring's path or fingerprints, or the key itself; empty
	// means apt's default keyrings.
	SignedBy string
}

// Deb822 renders sources as a file in the format of sources.list(5).
func Deb822(sources []Source) string {
	var b strings.Builder
	for _, s := range sources {
		fmt.Fprintf(&b, "Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\n", s.URI, s.Suite, strings.Join(s.Components, " "))
		if s.SignedBy != "" {
			b.WriteString("Signed-By: " + strings.ReplaceAll(s.SignedBy, "\n", "\n ") + "\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// targetFormat asks apt-get indextargets for what parseTargetsList reads.
const targetFormat = "$(ORIGIN)\t$(REPO_URI)\t$(RELEASE)\t$(CODENAME)\t$(COMPONENT)\t$(SOURCESENTRY)"

// Sources returns the host's sources that are the distribution's own, by the
// origin its signed Release file names, without third-party repositories.
// The lists must have been fetched (Update).
func (a *Apt) Sources(ctx context.Context) ([]Source, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sources(ctx)
}

func (a *Apt) sources(ctx context.Context) ([]Source, error) {
	out, err := a.output(ctx, "apt-get", "indextargets", "--format", targetFormat, "Created-By: Packages")
	if err != nil {
		return nil, err
	}
	sources := parseTargetList(out, os.ReadFile)
	if len(sources) == 0 {
		return nil, api.Errorf(api.KindUnsupported, "apt has no usable package source of Debian or Ubuntu").
			WithHint("check the network and that `apt-get update` works on this host, or %s", hint)
	}
	return sources, nil
}

// parseTargetList groups the lines of targetFormat into sources, in the order
// they come. readFile reads the file that an entry comes from.
func parseTargetList(out string, readFile func(string) ([]byte, error)) []Source {
	var sources []Source
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 6 || (f[0] != "Debian" && f[0] != "Ubuntu") || f[4] == "" {
			continue
		}
		i := slices.IndexFunc(sources, func(s Source) bool { return s.URI == f[1] && s.Suite == f[2] })
		if i < 0 {
			s := Source{Origin: f[0], URI: f[1], Suite: f[2], Codename: f[3]}
			file, _, _ := cutLast(f[5], ":")
			if text, err := readFile(file); err == nil {
				s.SignedBy = findSignedBy(file, string(text), s)
			}
			sources = append(sources, s)
			i = len(sources) - 1
		}
		if !slices.Contains(sources[i].Components, f[4]) {
			sources[i].Components = append(sources[i].Components, f[4])
		}
	}
	return sources
}

// findSignedBy looks up the keyring that a source file names for s: apt's own
// listing does not carry it.
func findSignedBy(file, text string, s Source) string {
	if strings.HasSuffix(file, ".sources") {
		for stanza := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
			f := maps.Collect(fields(stanza))
			if hasWord(f["URIs"], s.URI) && hasWord(f["Suites"], s.Suite) {
				return strings.TrimSpace(f["Signed-By"])
			}
		}
		return ""
	}
	for line := range strings.Lines(text) {
		options, rest := oneLine(line)
		if hasWord(rest, s.URI) && hasWord(rest, s.Suite) {
			return options["signed-by"]
		}
	}
	return ""
}

// oneLine splits an entry such as `deb [signed-by=/k.gpg arch=amd64] URI SUITE
// COMPONENT…` (sources.list(5)) into its options and what follows them.
func oneLine(line string) (map[string]string, string) {
	options := map[string]string{}
	kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if kind != "deb" {
		return options, ""
	}
	rest = strings.TrimSpace(rest)
	if inner, after, ok := strings.Cut(strings.TrimPrefix(rest, "["), "]"); ok && strings.HasPrefix(rest, "[") {
		for _, option := range strings.Fields(inner) {
			key, value, _ := strings.Cut(option, "=")
			options[key] = value
		}
		rest = after
	}
	return options, rest
}

// hasWord says whether a list of words has word, a final slash aside.
func hasWord(list, word string) bool {
	for _, w := range strings.Fields(list) {
		if strings.TrimRight(w, "/") == strings.TrimRight(word, "/") {
			return true
		}
	}
	return false
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
