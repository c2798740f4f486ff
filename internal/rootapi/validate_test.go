package rootapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"banger/api"
)

const id = "0123456789ab"

var sum = strings.Repeat("0a", 32)

// badIDs are no ids of VMs.
var badIDs = []string{
	"", "0123456789a", "0123456789abc", "0123456789AB", "0123456789ag", "..", "../../../etc", "0123456789a/", "/23456789ab",
	"0123456789ab\n", " 123456789ab", "0123456789a\x00", "0123456789aé", "*", "banger-vm-01", strings.Repeat("a", 1<<12),
}

func TestForeignIDsAreRefused(t *testing.T) {
	withID := func(id string) []Call {
		v := VM{id}
		start := goodStart()
		start.VM = v
		return []Call{
			DiskAttachCall{VM: v, Mode: Snapshot}, DiskAttachCall{VM: v, Mode: Plain}, DiskStatusCall{v},
			NetAttachCall{VM: v, Slot: 1}, NetAttachCall{VM: v, Slot: 1, None: true}, NetAttachCall{VM: v, Slot: 1, Isolated: true},
			start, VMFindCall{VM: v}, VMKillCall{VM: v}, VMKillCall{VM: v, Signal: api.SignalTerm}, VMReleaseCall{v}, VMDialCall{VM: v, Socket: SocketAgent},
		}
	}
	for _, call := range withID(id) {
		if err := call.Validate(); err != nil {
			t.Errorf("%T: %v", call, err)
		}
	}
	for _, bad := range badIDs {
		for _, call := range withID(bad) {
			if err := call.Validate(); api.KindOf(err) != api.KindInvalid || len(err.Error()) > 300 {
				t.Errorf("%T with %.40q: %v", call, bad, err)
			}
		}
	}
}

// TestEveryCallChecksItsID: no verb that names a VM can be added without a check.
func TestEveryCallChecksItsID(t *testing.T) {
	seen := map[Verb]bool{}
	for _, call := range Calls() {
		if seen[call.Verb()] {
			t.Errorf("%s is there twice", call.Verb())
		}
		seen[call.Verb()] = true
		data, err := json.Marshal(call)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), `"id":`) && call.Validate() == nil {
			t.Errorf("%s accepts an empty id", call.Verb())
		}
		if least, most := call.Files(); least > most || least < 0 || most > maxFiles {
			t.Errorf("%s takes %d to %d files", call.Verb(), least, most)
		}
	}
}

func goodStart() VMStartCall {
	return VMStartCall{
		VM: VM{id}, Slot: 1, VMM: Firecracker, Accel: "kvm", VCPUs: 2, MemoryMiB: 512, Kernel: sum, Initramfs: sum,
		Cmdline: "console=ttyS0 quiet a=[1]^`{|}~,$HOME",
	}
}

func TestStartRefuses(t *testing.T) {
	for name, change := range map[string]func(*VMStartCall){
		"slot 0":              func(c *VMStartCall) { c.Slot = 0 },
		"negative slot":       func(c *VMStartCall) { c.Slot = -1 },
		"slot too high":       func(c *VMStartCall) { c.Slot = Slots },
		"no VMM":              func(c *VMStartCall) { c.VMM = "" },
		"another VMM":         func(c *VMStartCall) { c.VMM = "Firecracker" },
		"a path as VMM":       func(c *VMStartCall) { c.VMM = "../qemu" },
		"no accelerator":      func(c *VMStartCall) { c.Accel = "" },
		"Firecracker and TCG": func(c *VMStartCall) { c.Accel = "tcg" },
		"an option as accel":  func(c *VMStartCall) { c.VMM, c.Accel = QEMU, "tcg,tb-size=1" },
		"no vCPU":             func(c *VMStartCall) { c.VCPUs = 0 },
		"negative vCPUs":      func(c *VMStartCall) { c.VCPUs = -1 },
		"too many vCPUs":      func(c *VMStartCall) { c.VCPUs = MaxVCPUs + 1 },
		"no memory":           func(c *VMStartCall) { c.MemoryMiB = 0 },
		"negative memory":     func(c *VMStartCall) { c.MemoryMiB = -1 },
		"too much memory":     func(c *VMStartCall) { c.MemoryMiB = MaxMemoryMiB + 1 },
		"overflowing memory":  func(c *VMStartCall) { c.MemoryMiB = 1<<63 - 1 },
		"no kernel":           func(c *VMStartCall) { c.Kernel = "" },
		"a kernel's path":     func(c *VMStartCall) { c.Kernel = "/boot/vmlinuz" },
		"upper-case digest":   func(c *VMStartCall) { c.Kernel = strings.ToUpper(sum) },
		"short digest":        func(c *VMStartCall) { c.Initramfs = sum[1:] },
		"long digest":         func(c *VMStartCall) { c.Initramfs = sum + "0" },
		"digest and newline":  func(c *VMStartCall) { c.Initramfs = sum + "\n" },
		"digest and dots":     func(c *VMStartCall) { c.Initramfs = "../" + sum[3:] },
		"quote":               func(c *VMStartCall) { c.Cmdline = `a="b"` },
		"backslash":           func(c *VMStartCall) { c.Cmdline = `a\b` },
		"newline":             func(c *VMStartCall) { c.Cmdline = "a\nb" },
		"newline at the end":  func(c *VMStartCall) { c.Cmdline = "a\n" },
		"tab":                 func(c *VMStartCall) { c.Cmdline = "a\tb" },
		"NUL":                 func(c *VMStartCall) { c.Cmdline = "a\x00b" },
		"DEL":                 func(c *VMStartCall) { c.Cmdline = "a\x7fb" },
		"not ASCII":           func(c *VMStartCall) { c.Cmdline = "é" },
		"not UTF-8":           func(c *VMStartCall) { c.Cmdline = "\xff" },
		"too long":            func(c *VMStartCall) { c.Cmdline = strings.Repeat("a", MaxCmdline+1) },
	} {
		c := goodStart()
		change(&c)
		if err := c.Validate(); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*VMStartCall){
		"as it is":              func(*VMStartCall) {},
		"QEMU, emulated":        func(c *VMStartCall) { c.VMM, c.Accel = QEMU, "tcg" },
		"QEMU":                  func(c *VMStartCall) { c.VMM = QEMU },
		"last slot":             func(c *VMStartCall) { c.Slot = Slots - 1 },
		"longest command line":  func(c *VMStartCall) { c.Cmdline = strings.Repeat("a", MaxCmdline) },
		"empty command line":    func(c *VMStartCall) { c.Cmdline = "" },
		"most vCPUs and memory": func(c *VMStartCall) { c.VCPUs, c.MemoryMiB = MaxVCPUs, MaxMemoryMiB },
		"one vCPU, one MiB":     func(c *VMStartCall) { c.VCPUs, c.MemoryMiB = 1, 1 },
	} {
		c := goodStart()
		change(&c)
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOtherCallsRefuse(t *testing.T) {
	for _, call := range []Call{
		DiskAttachCall{VM: VM{id}}, DiskAttachCall{VM: VM{id}, Mode: "Plain"}, DiskAttachCall{VM: VM{id}, Mode: "/dev/sda"},
		NetAttachCall{VM: VM{id}}, NetAttachCall{VM: VM{id}, Slot: -1}, NetAttachCall{VM: VM{id}, Slot: Slots},
		NetAttachCall{VM: VM{id}, Slot: Slots, None: true}, NetAttachCall{VM: VM{id}, Slot: 1, None: true, Isolated: true},
		BootPutCall{}, BootPutCall{Digest: ".."}, BootPutCall{Digest: strings.ToUpper(sum)}, BootPutCall{Digest: sum + "0"},
		BootPutCall{Digest: sum + "\n"}, BootPutCall{Digest: "/" + sum[1:]},
		VMDialCall{VM: VM{id}}, VMDialCall{VM: VM{id}, Socket: "v.sock"}, VMDialCall{VM: VM{id}, Socket: "../../x"},
	} {
		if err := call.Validate(); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%#v: %v", call, err)
		}
	}
}

func TestFilesAreCounted(t *testing.T) {
	body := func(c Call) Request {
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return Request{Protocol: protocol, Verb: c.Verb(), Body: data}
	}
	counts := func(least, most int, try func(files int) error) {
		t.Helper()
		for n := 0; n <= maxFiles+1; n++ {
			if err := try(n); (err == nil) != (n >= least && n <= most) {
				t.Errorf("%d files of %d to %d: %v", n, least, most, err)
			}
		}
	}
	counts(2, 2, func(n int) error {
		_, err := Decode[DiskAttachCall](body(DiskAttachCall{VM: VM{id}, Mode: Snapshot}), n)
		return err
	})
	counts(1, 1, func(n int) error {
		_, err := Decode[DiskAttachCall](body(DiskAttachCall{VM: VM{id}, Mode: Plain}), n)
		return err
	})
	counts(2, 2, func(n int) error { _, err := Decode[VMStartCall](body(goodStart()), n); return err })
	counts(0, 1, func(n int) error { _, err := Decode[BootPutCall](body(BootPutCall{Digest: sum}), n); return err })
	counts(0, 0, func(n int) error { _, err := Decode[VMKillCall](body(VMKillCall{VM: VM{id}}), n); return err })
	counts(0, 0, func(n int) error { _, err := Decode[HelloCall](body(HelloCall{}), n); return err })
}

func TestDecodeIsStrict(t *testing.T) {
	for _, text := range []string{
		`{"id":"` + id + `","path":"/etc/shadow"}`, `{"id":"` + id + `"} {}`, `{"id":"` + id + `"}}`, `{"id":"` + id + `"}]`,
		`[]`, `"x"`, `{"id":1}`, `{"id":["` + id + `"]}`, `{`, `null`, ``,
	} {
		if call, err := Decode[VMKillCall](Request{Body: json.RawMessage(text)}, 0); err == nil {
			t.Errorf("%s became %+v", text, call)
		}
	}
	if _, err := Decode[VMKillCall](Request{Body: json.RawMessage(` {"id":"` + id + `"} `)}, 0); err != nil {
		t.Error(err)
	}
}

// TestKillSendsOnlySignalsThatEnd: a number, or a signal that suspends, is not one.
func TestKillSendsOnlySignalsThatEnd(t *testing.T) {
	for _, s := range append(api.Signals(), "") {
		if err := (VMKillCall{VM: VM{id}, Signal: s}).Validate(); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, bad := range []api.Signal{"STOP", "CONT", "HUP", "SIGKILL", "kill", "9", "0", "-1", "USR1", "TERM ", "TERM\n", api.Signal(strings.Repeat("x", 1<<12))} {
		if err := (VMKillCall{VM: VM{id}, Signal: bad}).Validate(); api.KindOf(err) != api.KindInvalid || len(err.Error()) > 300 {
			t.Errorf("%.40q: %v", string(bad), err)
		}
	}
	if call, err := Decode[VMKillCall](Request{Body: json.RawMessage(`{"id":"` + id + `","signal":15}`)}, 0); err == nil {
		t.Errorf("a number became %+v", call)
	}
}

func ExampleVMStartCall() {
	err := VMStartCall{VM: VM{"../../etc"}, VMM: "sh"}.Validate()
	fmt.Println(err)
	// Output: unknown VMM "sh"
}
