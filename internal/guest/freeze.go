package guest

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"banger/api"
	"banger/internal/guest/agentproto"
)

// maxGuestName bounds the name of a cgroup or of a process in the guest, in bytes.
const maxGuestName = 256

// Freeze stops everything in the guest but its agent and its init, so that the guest can be saved. Thaw
// ends it, with the same attempt, an id of at most 64 characters. Otherwise the agent does, after a
// minute in which the guest's processors ran. It may be repeated. An error of kind conflict says what
// did not stop, then nothing is frozen; one of kind unsupported, that this guest cannot be frozen, or
// its agent is older.
func (c *Client) Freeze(ctx context.Context, attempt string) (agentproto.Frozen, error) {
	answer, err := c.ask(ctx, agentproto.Request{Op: agentproto.OpFreeze, Attempt: attempt})
	if err != nil {
		return agentproto.Frozen{}, err
	}
	if answer.Frozen == nil {
		return agentproto.Frozen{}, api.Errorf(api.KindInternal, "the guest's agent answered without what it has frozen")
	}
	return plainFrozen(*answer.Frozen), nil
}

// Thaw ends the freeze of an attempt. If nothing is frozen it does nothing, and the answer says whether
// the freeze of this attempt had ended before. A freeze of another attempt is an error of kind conflict.
func (c *Client) Thaw(ctx context.Context, attempt string) (agentproto.Thawed, error) {
	answer, err := c.ask(ctx, agentproto.Request{Op: agentproto.OpThaw, Attempt: attempt})
	if err != nil {
		return agentproto.Thawed{}, err
	}
	if answer.Thawed == nil {
		return agentproto.Thawed{}, api.Errorf(api.KindInternal, "the guest's agent answered without whether it was frozen")
	}
	return *answer.Thawed, nil
}

// plainFrozen bounds what a guest says it has frozen, and leaves only printable names.
func plainFrozen(f agentproto.Frozen) agentproto.Frozen {
	f.Processes = max(0, f.Processes)
	f.Groups = f.Groups[:min(len(f.Groups), agentproto.MaxListed)]
	for i, name := range f.Groups {
		f.Groups[i] = plainName(name)
	}
	f.Outside = f.Outside[:min(len(f.Outside), agentproto.MaxListed)]
	for i, p := range f.Outside {
		f.Outside[i].Name = plainName(p.Name)
	}
	return f
}

// plainName returns a name from the guest as it may be shown: without control characters, and
// short.
func plainName(name string) string {
	if len(name) > maxGuestName {
		name = strings.ToValidUTF8(name[:maxGuestName], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, name)
}

// plainDone bounds what a guest says it has done, and leaves only printable texts. It does not change d.
func plainDone(d *agentproto.Done) *agentproto.Done {
	if d == nil {
		return nil
	}
	plain := *d
	plain.Steps = nil
	for _, s := range d.Steps[:min(len(d.Steps), agentproto.MaxListed)] {
		if s.State != agentproto.StepDone && s.State != agentproto.StepSkipped {
			s.State = agentproto.StepFailed
		}
		plain.Steps = append(plain.Steps, agentproto.Step{Name: plainName(s.Name), State: s.State, Detail: plainName(s.Detail)})
	}
	return &plain
}
