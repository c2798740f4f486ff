package op

import (
	"slices"

	"banger/api"
	"banger/internal/idref"
)

// Get returns a running or recently ended operation, possibly of an earlier daemon, by its id or the
// beginning of it.
func (m *Manager) Get(ref string) (*Op, error) {
	o, err := m.exactly(ref)
	if o != nil || err != nil {
		return o, err
	}
	ids, err := m.beginning(ref)
	if err != nil {
		return nil, err
	}
	at, err := idref.Find("operations", ref, ids, func(i int) string { return ids[i] })
	if err != nil {
		return nil, err
	}
	if at >= 0 {
		if o, err = m.exactly(ids[at]); o != nil || err != nil {
			return o, err
		}
	}
	return nil, api.Errorf(api.KindNotFound, "no operation %.80q", ref)
}

// beginning returns the ids of all operations that ref may be the beginning of.
func (m *Manager) beginning(ref string) ([]string, error) {
	if len(ref) < idref.Shortest {
		return nil, nil
	}
	ids, err := m.log.EndedOperations(m.ctx, ref)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.ops {
		ids = append(ids, o.ID())
	}
	slices.Sort(ids)
	return slices.Compact(ids), err
}

// exactly returns the operation with exactly that id, or nil.
func (m *Manager) exactly(id string) (*Op, error) {
	if o := m.find(func(o *Op) bool { return o.ID() == id }); o != nil {
		return o, nil
	}
	last, err := m.log.EndedOperation(m.ctx, id)
	return ended(last), err
}

// Requested returns the operation that a client has requested with a key, or nil.
func (m *Manager) Requested(request string) (*Op, error) {
	if o := m.find(func(o *Op) bool { return o.Snapshot().Request == request }); o != nil {
		return o, nil
	}
	last, err := m.log.RequestedOperation(m.ctx, request)
	return ended(last), err
}

func (m *Manager) find(match func(*Op) bool) *Op {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at := slices.IndexFunc(m.ops, match); at >= 0 {
		return m.ops[at]
	}
	return nil
}

// ended returns an ended operation from its last event, or nil without one.
func ended(last *api.Event) *Op {
	if last == nil || last.Operation == nil {
		return nil
	}
	o := newOp(*last.Operation, func(error) {})
	o.end(*last)
	return o
}

// List returns the operations of this daemon's lifetime, newest first.
func (m *Manager) List() []api.Operation {
	m.mu.Lock()
	defer m.mu.Unlock()
	rows := make([]api.Operation, 0, len(m.ops))
	for _, o := range slices.Backward(m.ops) {
		rows = append(rows, o.Snapshot())
	}
	return rows
}
