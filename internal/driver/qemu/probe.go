package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"banger/api"
	"banger/internal/guest/agentproto"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/internal/host/proc"
)

// How long a probe may take. If KVM hangs, it prints nothing at all. The numbers are generous
// choices, not measured.
const (
	probeFirstByte = 5 * time.Second
	probeTotal     = 20 * time.Second
	probeMemory    = 256 // MiB
	probeOutput    = 1 << 20
)

// hostState is the state of the host on which a probe's result depends.
type hostState struct {
	BootID  string    `json:"boot_id"` // of the host: the modules, the firmware's settings
	Path    string    `json:"path"`    // of QEMU
	ModTime time.Time `json:"mod_time"`
	Size    int64     `json:"size"`
}

// result is the cache file.
type result struct {
	hostState
	Version string `json:"version"` // of QEMU
	Tried   bool   `json:"tried"`   // a boot under KVM was tried
	Boots   bool   `json:"boots"`
	Reason  string `json:"reason,omitempty"`
	Said    string `json:"said,omitempty"` // last output of QEMU or the guest, for a reader of the file
}

func (d *Driver) host(path string, info os.FileInfo) (hostState, error) {
	boot, err := proc.BootID()
	if err != nil {
		return hostState{}, api.Errorf(api.KindInternal, "cannot probe this machine: %w", err)
	}
	return hostState{BootID: boot, Path: path, ModTime: info.ModTime().UTC(), Size: info.Size()}, nil
}

// recall returns the cached result for this host and QEMU. The caller holds mu.
func (d *Driver) recall(ctx context.Context, now hostState) (result, error) {
	if d.known == nil {
		d.known = readResult(d.cache)
	}
	if d.known.hostState == now && d.known.Version != "" {
		return *d.known, nil
	}
	version, err := qemuVersion(ctx, now.Path)
	if err != nil {
		return result{}, err
	}
	fresh := result{hostState: now, Version: version}
	return fresh, d.remember(fresh)
}

func readResult(path string) *result {
	r := new(result)
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, r) != nil {
		return new(result) // absent or damaged: probe again
	}
	return r
}

func (d *Driver) remember(r result) error {
	d.known = &r
	err := os.MkdirAll(filepath.Dir(d.cache), 0o700)
	if err == nil {
		err = fsx.WriteJSON(d.cache, r)
	}
	if err != nil {
		return api.Errorf(api.KindInternal, "cannot store the result of the probe: %w", err)
	}
	return nil
}

var versionNumber = regexp.MustCompile(`version (\d+\.\d+(?:\.\d+)?)`)

func qemuVersion(ctx context.Context, path string) (string, error) {
	var out bytes.Buffer
	err := execx.Run(ctx, execx.Cmd{Name: path, Args: []string{"--version"}, Stdout: &out})
	if err != nil {
		return "", api.Errorf(api.KindUnsupported, "cannot use QEMU: %w", err).WithHint("sudo apt-get install --reinstall %s", debianPackage)
	}
	found := versionNumber.FindSubmatch(out.Bytes())
	if found == nil {
		return "", api.Errorf(api.KindUnsupported, "cannot use QEMU: the version in the output of %s is %.60q", path, out.String())
	}
	return string(found[1]), nil
}

// try boots a guest under KVM and stores the result. A failure is stored until the host's next
// boot, so two failures are required: the first may be due to a busy machine. The caller holds
// mu.
func (d *Driver) try(ctx context.Context, path string, r result, kernel, initramfs string) (result, error) {
	greet, err := agentproto.Boot{Probe: true}.Cmdline()
	if err != nil {
		return result{}, err
	}
	// earlyprintk gives output long before the console's driver is loaded.
	args := probeArgs(machineArgs(KVM), kernel, initramfs, "earlyprintk=ttyS0 console=ttyS0 reboot=t panic=-1 "+greet)
	reason, said, err := probeBoot(ctx, path, args, probePatience)
	if err == nil && reason != "" {
		reason, said, err = probeBoot(ctx, path, args, probePatience)
	}
	if err != nil {
		return result{}, err
	}
	r.Tried, r.Boots, r.Said = true, reason == "", said
	if reason != "" {
		r.Reason = "/dev/kvm can be opened on this machine, but " + reason
	}
	return r, d.remember(r)
}

// probeArgs boot a guest that prints a greeting on standard output and ends.
func probeArgs(machine []string, kernel, initramfs, cmdline string) []string {
	return append(machine,
		"-smp", "1", "-m", fmt.Sprintf("%dM", probeMemory),
		"-kernel", kernel, "-initrd", initramfs,
		"-append", cmdline,
		"-chardev", "stdio,id=console,signal=off",
		"-serial", "chardev:console",
	)
}

// patience bounds how long a guest may take: until it writes anything, between two pieces of
// its output, and in all.
type patience struct{ firstByte, pause, total time.Duration }

var probePatience = patience{probeFirstByte, probeTotal, probeTotal}

// probeBoot boots a guest and returns why that does not work, or "" if it does. It returns an
// error if that cannot be determined.
func probeBoot(ctx context.Context, path string, args []string, wait patience) (reason, said string, err error) {
	out, in, err := os.Pipe()
	if err != nil {
		return "", "", err
	}
	defer out.Close()
	p, err := proc.Spawn(proc.Command{Path: path, Args: append([]string{path}, args...), Env: environment, Files: []*os.File{nil, in, in}})
	in.Close()
	if err != nil {
		return "", "", api.Errorf(api.KindUnsupported, "cannot probe this machine: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { out.Close() })
	reason, said = listen(out, wait)
	stop()
	killErr := p.Kill(context.WithoutCancel(ctx), cleanWait)
	p.Close()
	if ctx.Err() != nil {
		return "", "", api.Errorf(api.KindCanceled, "the probe was stopped: %w", context.Cause(ctx))
	}
	return reason, said, killErr
}

// listen reads the console of a probe until the guest greets, ends or takes too long. It
// returns why the probe failed and the last line of output.
func listen(console *os.File, wait patience) (reason, last string) {
	start := time.Now()
	_ = console.SetReadDeadline(start.Add(wait.firstByte))
	var said []byte
	buf := make([]byte, 4<<10)
	for len(said) < probeOutput {
		n, err := console.Read(buf)
		if n > 0 {
			_ = console.SetReadDeadline(earlier(time.Now().Add(wait.pause), start.Add(wait.total)))
		}
		said = append(said, buf[:n]...)
		if bytes.Contains(said, []byte(agentproto.ProbeGreeting)) {
			return "", ""
		}
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return "QEMU cannot run a guest on it", lastLine(said)
		case said == nil:
			return fmt.Sprintf("a test guest wrote no output within %s", wait.firstByte), ""
		case time.Since(start) < wait.total:
			return fmt.Sprintf("a test guest wrote nothing more for %s", wait.pause), lastLine(said)
		default:
			return fmt.Sprintf("a test guest did not boot within %s", wait.total), lastLine(said)
		}
	}
	return "a test guest wrote to its console without end", lastLine(said)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// agentSays is the beginning of the agent's last line.
const agentSays = "banger-agent: fatal: "

// lastLine returns the last informative line, cut to a reasonable length: the agent's, if it has
// printed why it ended, and not the kernel's final messages.
func lastLine(said []byte) string {
	const most = 200
	lines := strings.Split(strings.TrimSpace(string(bytes.ToValidUTF8(said, []byte("?")))), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	for _, line := range lines {
		if _, reason, ok := strings.Cut(line, agentSays); ok {
			last = strings.TrimSpace(reason)
		}
	}
	if len(last) > most {
		last = last[:most]
	}
	return last
}
