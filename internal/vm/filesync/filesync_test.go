package filesync

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"banger/api"
)

func TestNotes(t *testing.T) {
	got := notes("dev", []api.SyncedFile{
		{Host: "a", Result: api.SyncMissing}, {Host: "b", Result: api.SyncFailed, Reason: "why"}, {Host: "c", Result: api.SyncCopied, Warnings: []string{"w"}},
		{Host: "d", Result: api.SyncKept, Reason: "own"}, {Host: "e", Result: api.SyncMissing},
	})
	want := []string{"cannot copy b into VM dev: why", "c: w", "not copied into VM dev: this host has no a, e"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
