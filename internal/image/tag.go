package image

import (
	"slices"
	"strings"

	"banger/api"
)

// Tag gives an image one more name, which another image may lose.
func (c *Cache) Tag(ref, name string) (api.Image, error) {
	if err := checkName(name); err != nil {
		return api.Image{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	i, err := c.get(ref)
	if err != nil {
		return api.Image{}, err
	}
	return c.name(strings.TrimPrefix(i.Digest, "sha256:"), []string{c.host.Canonical(name)})
}

// History returns how an image was built, newest step first.
func (c *Cache) History(ref string) ([]api.ImageHistory, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, err := c.get(ref)
	if err != nil {
		return nil, err
	}
	m, err := c.meta(strings.TrimPrefix(i.Digest, "sha256:"))
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot read the record of image %.80s: %w", ref, err)
	}
	history := m.history()
	if len(m.History) == 0 {
		history[0].SizeBytes = i.SizeBytes
	}
	slices.Reverse(history)
	return history, nil
}

// history returns how an image was built, oldest step first. An image without a history
// gets one step, its source.
func (m *meta) history() []api.ImageHistory {
	if len(m.History) == 0 {
		return []api.ImageHistory{{CreatedAt: &m.CreatedAt, CreatedBy: m.Source}}
	}
	return slices.Clone(m.History)
}

// sizeHistory sets the sizes of the history's steps from their layers.
func (m *meta) sizeHistory() {
	m.History = slices.Clone(m.History)
	for n, h := range m.History {
		for _, l := range m.Layers {
			if l.DiffID == h.Layer {
				m.History[n].SizeBytes = l.SizeBytes
			}
		}
	}
}
