package guest

import (
	"slices"
	"strings"
	"unicode/utf8"

	"banger/api"
	"banger/internal/guest/agentproto"
)

// maxGuestText bounds the text of an error from the guest, in bytes. It never contains a
// command's standard error.
const maxGuestText = 2 << 10

// sanitize returns the trusted part of an error from a guest's agent. Anybody in the guest
// may be its agent: the hint, which is typed on the host, is one of banger's own texts or
// empty, and the kind, which decides what the host does, is a known one.
func sanitize(e *api.Error) *api.Error {
	kind := e.Kind
	if !slices.Contains(kinds, kind) {
		kind = api.KindInternal
	}
	text := e.Message
	if len(text) > maxGuestText {
		cut := maxGuestText
		for !utf8.RuneStart(text[cut]) && cut > maxGuestText-utf8.UTFMax {
			cut--
		}
		text = text[:cut] + " …"
	}
	if strings.TrimSpace(text) == "" {
		text = "the guest's agent reported a failure without a reason"
	}
	out := &api.Error{Kind: kind, Message: text}
	if slices.Contains(agentproto.Hints, e.Hint) {
		out.Hint = e.Hint
	}
	return out
}

// kinds are the kinds of errors that a guest can report: whether a VM is suspended is for the
// daemon to say, since clients then wait for as long as it is.
var kinds = []api.Kind{
	api.KindInvalid, api.KindNotFound, api.KindExists, api.KindConflict, api.KindNoSpace,
	api.KindUnsupported, api.KindTimeout, api.KindCanceled, api.KindDenied, api.KindFrozen, api.KindInternal,
}
