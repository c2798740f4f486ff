package hold

import (
	"os"
	"path/filepath"
	"testing"

	"banger/api"
)

func TestHold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hold")
	if err := Check(path, "vm.start"); err != nil {
		t.Errorf("without a hold: %v", err)
	}
	h, err := Make(path, "v1.1.0")
	if err != nil {
		t.Fatal(err)
	}
	err = Check(path, "vm.start")
	if want := "cannot do vm.start now: the update to v1.1.0 is being proven"; err == nil || err.Error() != want || api.KindOf(err) != api.KindConflict {
		t.Errorf("held: %v", err)
	}
	again, err := Make(path, "v1.2.0") // by the updater's next run
	if err != nil {
		t.Fatal(err)
	}
	h.file.Close()
	if Check(path, "vm.start") == nil {
		t.Error("the newer hold holds nothing")
	}
	if err := again.Release(); err != nil {
		t.Fatal(err)
	}
	if err := Check(path, "vm.start"); err != nil {
		t.Errorf("released: %v", err)
	}
}

func TestHoldOfAnUpdaterThatIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hold")
	h, err := Make(path, "v1.1.0")
	if err != nil {
		t.Fatal(err)
	}
	h.file.Close() // as kill -9 does
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	if err := Check(path, "vm.start"); err != nil {
		t.Errorf("held by nobody: %v", err)
	}
}
