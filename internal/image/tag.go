package image

import (
	"slices"

	"banger/api"
)

// Tag gives an image one more name, which another image may lose.
func (c *Cache) Tag(ref, name string) (api.Image, error) {
	if err := checkName(name); err != nil {
		return api.Image{}, err
	}
	l := c.records.Lock()
	defer l.Unlock()
	e, err := c.records.find(l, ref)
	if err != nil {
		return api.Image{}, err
	}
	return withNames(l.Name(e.Hex, c.records.names.host.Canonical(name)))
}

// History returns how an image was built, newest step first.
func (c *Cache) History(ref string) ([]api.ImageHistory, error) {
	l := c.records.Lock()
	defer l.Unlock()
	e, err := c.records.find(l, ref)
	if err != nil {
		return nil, err
	}
	m, err := c.records.meta(e.Hex)
	if err != nil {
		return nil, api.Errorf(api.KindInternal, "cannot read the record of image %.80s: %w", ref, err)
	}
	history := m.history()
	if len(m.History) == 0 {
		history[0].SizeBytes = e.Object.image.SizeBytes
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
