package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// mirrorRule is REGISTRY=MIRROR: hosts with or without a port, optionally with a path.
var mirrorRule = regexp.MustCompile(`^([a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?)=([a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9._/-]+)?)$`)

// ParseMirrors parses the mirrors of registries.
func ParseMirrors(text string) (map[string]string, error) {
	mirrors := map[string]string{}
	for _, word := range strings.Fields(text) {
		if before, _, ok := strings.Cut(word, "://"); ok {
			return nil, fmt.Errorf("%.200q: remove %q", word, before[strings.LastIndexByte(before, '=')+1:]+"://")
		}
		m := mirrorRule.FindStringSubmatch(strings.TrimSuffix(word, "/"))
		if m == nil {
			return nil, fmt.Errorf("%.200q is not REGISTRY=MIRROR, such as docker.io=mirror.example.com/hub", word)
		}
		if mirrors[m[1]] != "" {
			return nil, fmt.Errorf("%s occurs twice", m[1])
		}
		mirrors[m[1]] = m[2]
	}
	return mirrors, nil
}

func formatMirrors(mirrors map[string]string) string {
	var words []string
	for _, registry := range slices.Sorted(maps.Keys(mirrors)) {
		words = append(words, registry+"="+mirrors[registry])
	}
	return strings.Join(words, " ")
}
