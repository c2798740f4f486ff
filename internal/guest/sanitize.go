package guest

import (
	"slices"
	"strings"
	"unicode/utf8"

	"banger/api"
	"banger/internal/agentproto"
)

// maxSaid bounds the text of an error of the guest's, in bytes: a command's standard
// error is not in it.
const maxSaid = 2 << 10

// said is what is believed of an error that a guest's agent sent. Anybody in the guest
// may be its agent: what to type on the host is one of our own texts or nothing, and the
// kind, which decides what the host does, is one that there is.
func said(e *api.Error) *api.Error {
	kind := e.Kind
	if !slices.Contains(kinds, kind) {
		kind = api.KindInternal
	}
	text := e.Message
	if len(text) > maxSaid {
		cut := maxSaid
		for !utf8.RuneStart(text[cut]) && cut > maxSaid-utf8.UTFMax {
			cut--
		}
		text = text[:cut] + " …"
	}
	if strings.TrimSpace(text) == "" {
		text = "the guest's agent says that it failed, and not why"
	}
	out := &api.Error{Kind: kind, Message: text}
	if slices.Contains(agentproto.Hints, e.Hint) {
		out.Hint = e.Hint
	}
	return out
}

// kinds are all there are.
var kinds = []api.Kind{
	api.KindInvalid, api.KindNotFound, api.KindExists, api.KindConflict, api.KindNoSpace,
	api.KindUnsupported, api.KindTimeout, api.KindCanceled, api.KindDenied, api.KindInternal,
}
