package roothelper

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/rootapi"
)

// FuzzServe: whatever is asked for with whatever content, nothing fails badly,
// and nothing outside of the helper's directories is touched.
func FuzzServe(f *testing.F) {
	for _, call := range rootapi.Calls() {
		body, err := json.Marshal(call)
		if err != nil {
			f.Fatal(err)
		}
		least, _ := call.Files()
		f.Add(string(call.Verb()), strings.ReplaceAll(string(body), `"id":""`, `"id":"`+vm+`"`), uint8(least))
	}
	w := newFixture(f)
	w.units.fails = api.Errorf(api.KindInternal, "no program is started for this")
	dir := filepath.Dir(w.Dirs.Jails)
	outside := filepath.Join(dir, "outside")
	w.check(os.WriteFile(outside, []byte("kept"), 0o600))
	w.blocks.attached[vm] = true
	f.Fuzz(func(t *testing.T, verb, body string, files uint8) {
		give := w.logs[:min(int(files), len(w.logs))]
		_, given, err := w.server.do(rootapi.Request{Protocol: "1", Verb: rootapi.Verb(verb), Body: json.RawMessage(body)}, give)
		if err != nil && strings.Contains(err.Error(), "journalctl -u bangerd-root") {
			t.Error(err)
		}
		if err != nil && len(given) > 0 {
			t.Error("an error with files")
		}
		rootapi.CloseAll(given)
		if data, err := os.ReadFile(outside); err != nil || string(data) != "kept" {
			t.Error("a file outside was changed")
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 4 {
			t.Errorf("%v, %v", entries, err)
		}
		kept, err := os.ReadDir(w.Dirs.Boot)
		for _, k := range kept {
			if len(k.Name()) != 64 {
				t.Errorf("%s was made among the boot files", k.Name())
			}
		}
		jails, jailErr := filepath.Glob(filepath.Join(w.Dirs.Jails, "*", "*"))
		if err != nil || jailErr != nil || len(w.locks.held) != 0 {
			t.Errorf("%v, %v, %v", err, jailErr, w.locks.held)
		}
		for _, jail := range jails {
			if len(filepath.Base(jail)) != len(vm) {
				t.Errorf("%s was made among the jails", jail)
			}
		}
	})
}
