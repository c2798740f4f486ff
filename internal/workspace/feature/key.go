package feature

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"slices"
)

// Key names what is wanted: it is another one if ids, options or the order change, or the files of a
// local feature. What a version names in a registry is not asked for: a VM is not set up again
// because somebody has published something.
func Key(w Wanted) string {
	h := sha256.New()
	k := json.NewEncoder(h) // a line for each: no two sequences are the same text
	put := func(v any) { _ = k.Encode(v) }
	for _, r := range w.Features {
		put([]any{"feature", r.ID.text, r.Options.short})
		for _, name := range slices.Sorted(maps.Keys(r.Options.values)) {
			put([]any{"option", name, r.Options.values[name]})
		}
	}
	for _, id := range w.Override {
		put([]any{"override", id.text})
	}
	for _, local := range w.locals() {
		files := sha256.New()
		_, err := packLocal(w.Top, local, files, "feature")
		if err != nil {
			put([]any{"unusable", local})
			continue
		}
		put([]any{"files", local, hex.EncodeToString(files.Sum(nil))})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// locals are the directories of all local features, with those that they depend on.
func (w Wanted) locals() (all []string) {
	left := slices.Clone(w.Features)
	for len(left) > 0 && len(all) < maxFeatures {
		id := left[0].ID
		left = left[1:]
		if id.local == "" || slices.Contains(all, id.local) {
			continue
		}
		all = append(all, id.local)
		metadata, err := packLocal(w.Top, id.local, io.Discard, "feature")
		if err != nil {
			continue
		}
		if m, err := parseMetadata(metadata, w.From, true); err == nil {
			left = append(left, m.DependsOn...)
		}
	}
	return all
}
