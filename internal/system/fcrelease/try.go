package fcrelease

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"banger/api"
	"banger/internal/driver/firecracker"
	"banger/internal/host/execx"
)

// machines are the architectures of Firecracker's releases: their names in Go and in
// the releases, and their numbers in ELF headers.
var machines = map[string]struct {
	name string
	elf  elf.Machine
}{
	"amd64": {"x86_64", elf.EM_X86_64},
	"arm64": {"aarch64", elf.EM_AARCH64},
}

func architectures() (names []string) {
	for m := range maps.Values(machines) {
		names = append(names, m.name)
	}
	return names
}

// machine returns this machine's architecture as named in Firecracker's releases.
func machine() (string, error) {
	m, ok := machines[runtime.GOARCH]
	if !ok {
		return "", api.Errorf(api.KindUnsupported, "cannot get Firecracker: it is not released for %s", runtime.GOARCH)
	}
	return m.name, nil
}

// try checks that both programs are for this machine, run, and report the version in
// the archive's name.
func (s *Store) try(ctx context.Context, rel release, dir string) error {
	for _, p := range []struct{ file, name string }{{"firecracker", firecracker.Firecracker}, {"jailer", firecracker.Jailer}} {
		path := filepath.Join(dir, p.file)
		if err := checkELF(path, rel.archive); err != nil {
			return err
		}
		said, err := s.Run(ctx, path)
		if err != nil {
			return cancelOr(ctx, api.Errorf(api.KindUnsupported, "cannot use the %s in %s: %w", p.file, rel.archive, err).WithHint(nothingChanged))
		}
		v, err := firecracker.ParseVersion(p.name, said)
		if err != nil {
			return err
		}
		if v != rel.version {
			return refuse("cannot use %s: its %s reports version %s", rel.archive, p.file, v)
		}
	}
	return nil
}

// checkELF refuses a file that is not a program for this machine, before it is run.
func checkELF(path, archive string) error {
	f, err := os.Open(path)
	if err != nil {
		return api.AsError(err)
	}
	defer f.Close()
	head := make([]byte, 20) // up to e_machine (elf(5))
	if _, err := io.ReadFull(f, head); err != nil || !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return refuse("cannot use %s: its %s is not a program", archive, filepath.Base(path))
	}
	want := machines[runtime.GOARCH]
	little := elf.Class(head[elf.EI_CLASS]) == elf.ELFCLASS64 && elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2LSB
	if got := elf.Machine(binary.LittleEndian.Uint16(head[18:])); !little || got != want.elf {
		return refuse("cannot use %s: its %s is for another architecture (%s), but this machine is %s", archive, filepath.Base(path), got, want.name)
	}
	return nil
}

// runTime bounds how long a program may take to print its version.
const runTime = 10 * time.Second

// nobody is the user with the kernel's overflow id, who owns nothing
// (user_namespaces(7)).
const nobody = 65534

// Version runs a program with --version and returns the start of its output. Root runs
// it as nobody, without terminal, environment or groups: the program is not trusted
// yet.
func Version(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	var said firstBytes
	err := execx.Run(ctx, execx.Cmd{Name: path, Args: []string{"--version"}, Bare: true, Dir: "/", Attr: attr, Stdout: &said})
	return string(said), err
}

// firstBytes stores the first 4 KiB of a program's output.
type firstBytes []byte

func (b *firstBytes) Write(p []byte) (int, error) {
	*b = append(*b, p[:min(len(p), 4<<10-len(*b))]...)
	return len(p), nil
}

// digestOf returns a file's SHA-256 in hexadecimal.
func digestOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
