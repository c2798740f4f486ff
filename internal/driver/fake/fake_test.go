package fake_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"banger/internal/disk"
	"banger/internal/driver"
	"banger/internal/driver/drivertest"
	"banger/internal/driver/fake"
)

func TestMain(m *testing.M) {
	fake.GuestMain()
	drivertest.StarterMain(func() driver.Driver { return fake.New(fake.Options{}) })
	goleak.VerifyTestMain(m)
}

func spec(t *testing.T, id string) driver.Spec {
	dir := t.TempDir()
	file := filepath.Join(dir, "anything")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	return driver.Spec{
		ID: id, Dir: dir, VCPUs: 1, MemoryBytes: 128 << 20,
		Kernel: file, Initramfs: file, Disk: file, DiskFormat: disk.Raw,
	}
}

func TestContract(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{
		New:      func(*testing.T) driver.Driver { return fake.New(fake.Options{}) },
		Spec:     spec,
		BootTime: 20 * time.Second,
		Refused: map[string]func(*testing.T, *driver.Spec) driver.Driver{
			"missing kernel": func(t *testing.T, s *driver.Spec) driver.Driver {
				s.Kernel = filepath.Join(s.Dir, "absent")
				return fake.New(fake.Options{})
			},
			"missing program": func(t *testing.T, s *driver.Spec) driver.Driver {
				return fake.New(fake.Options{Executable: filepath.Join(s.Dir, "absent")})
			},
			"refused by the VMM": func(t *testing.T, s *driver.Spec) driver.Driver {
				setFault(t, s.Dir, fake.FaultRefuse)
				return fake.New(fake.Options{})
			},
		},
	})
}

func setFault(t *testing.T, dir, fault string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, fake.FaultFile), []byte(fault+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFaultExit(t *testing.T) {
	s := spec(t, "00000000000e")
	setFault(t, s.Dir, fake.FaultExit)
	m, err := fake.New(fake.Options{}).Start(t.Context(), s)
	if err != nil {
		t.Logf("it ended before Start did: %v", err)
		return
	}
	defer m.Release()
	<-m.Done()
	if exit := m.Exit(); exit.Code != 1 || exit.Message == "" {
		t.Errorf("exit %+v", exit)
	}
}
