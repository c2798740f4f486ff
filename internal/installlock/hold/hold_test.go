package hold

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"banger/api"
)

func TestHold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hold")
	if err := Check(path, "vm.start"); err != nil {
		t.Errorf("without a hold: %v", err)
	}
	h, err := Make(path, "v1.1.0", 0)
	if err != nil {
		t.Fatal(err)
	}
	err = Check(path, "vm.start")
	if want := "cannot start the VM now: the update to v1.1.0 is being proven"; err == nil || err.Error() != want || api.KindOf(err) != api.KindConflict {
		t.Errorf("held: %v", err)
	}
	again, err := Make(path, "v1.2.0", 0) // by the updater's next run
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
	h, err := Make(path, "v1.1.0", 0)
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

// TestNobodyElseHolds: who may open the file of an updater that is gone could lock it
// for as long as he likes.
func TestNobodyElseHolds(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: only root gives files to somebody else")
	}
	dir := t.TempDir()
	for at := dir; at != "/tmp" && at != "/"; at = filepath.Dir(at) { // as /run/banger-root
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "hold")
	const owner = 65533
	h, err := Make(path, "v1.1.0", owner)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	opens := func(uid uint32) bool {
		cmd := exec.Command("/bin/cat", path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: owner}}
		return cmd.Run() == nil
	}
	if !opens(owner) {
		t.Error("the daemon cannot see it")
	}
	if opens(65534) {
		t.Error("somebody else can open it, although in the same group")
	}
}
