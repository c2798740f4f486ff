package firecracker

import (
	"strings"
	"testing"

	"banger/api"
	"banger/internal/golden"
	"banger/internal/guest/agentproto"
)

func TestConfig(t *testing.T) {
	guest := agentproto.BaseCmdline + " banger.hostname=calm-fox banger.root=/dev/vda"
	for name, s := range map[string]Spec{
		"network":    {VCPUs: 2, MemoryMiB: 512, Cmdline: guest + " banger.address=10.0.2.15/24", Network: true},
		"no-network": {VCPUs: 1, MemoryMiB: 128, Cmdline: guest},
		"odd":        {VCPUs: MaxVCPUs, MemoryMiB: MaxMemoryMiB, Cmdline: `a="b" c=\d <&>`},
	} {
		got, err := Config(s)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		golden.Check(t, name+".golden", string(got))
	}
}

func TestConfigRefuses(t *testing.T) {
	longest := strings.Repeat("x", maxCmdline-len(argsBefore)-len(argsAfter))
	for name, c := range map[string]struct {
		s    Spec
		good bool
	}{
		"no vCPU":              {Spec{VCPUs: 0, MemoryMiB: 128}, false},
		"too many vCPUs":       {Spec{VCPUs: 33, MemoryMiB: 128}, false},
		"no memory":            {Spec{VCPUs: 1}, false},
		"negative memory":      {Spec{VCPUs: 1, MemoryMiB: -1}, false},
		"too much memory":      {Spec{VCPUs: 1, MemoryMiB: MaxMemoryMiB + 1}, false},
		"a new line":           {Spec{VCPUs: 1, MemoryMiB: 128, Cmdline: "a\nb"}, false},
		"a NUL":                {Spec{VCPUs: 1, MemoryMiB: 128, Cmdline: "a\x00b"}, false},
		"a tab":                {Spec{VCPUs: 1, MemoryMiB: 128, Cmdline: "a\tb"}, false},
		"other than ASCII":     {Spec{VCPUs: 1, MemoryMiB: 128, Cmdline: "ä"}, false},
		"the longest cmdline":  {Spec{VCPUs: 1, MemoryMiB: 128, Cmdline: longest}, true},
		"too long a cmdline":   {Spec{VCPUs: 1, MemoryMiB: 128, Cmdline: longest + "x"}, false},
		"no part of the guest": {Spec{VCPUs: 1, MemoryMiB: 128}, true},
	} {
		if _, err := Config(c.s); (err == nil) != c.good || err != nil && api.KindOf(err) != api.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhatTheAgentKnows: this package does not know the agent's, which has more
// than the root helper should link.
func TestWhatTheAgentKnows(t *testing.T) {
	boot, err := agentproto.ParseBoot(argsBefore + agentproto.BaseCmdline + argsAfter)
	if err != nil || !boot.Vsock || !strings.HasSuffix(argsAfter, " "+agentproto.VsockArg) {
		t.Errorf("%+v, %v", boot, err)
	}
	if AgentPort != agentproto.AgentPort || ReadyPort != agentproto.ReadyPort {
		t.Error("the ports are not the agent's")
	}
}

func TestJailerArgs(t *testing.T) {
	j := Jail{ID: "0123456789ab", Exec: "/usr/local/bin/firecracker", UID: 1900000007, GID: 1900000007}
	args, err := JailerArgs(j)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "jailer.golden", strings.Join(args, "\n")+"\n")
	for name, change := range map[string]func(*Jail){
		"a path as id":    func(j *Jail) { j.ID = "../456789ab" },
		"root":            func(j *Jail) { j.UID = 0 },
		"the root group":  func(j *Jail) { j.GID = 0 },
		"a negative uid":  func(j *Jail) { j.UID = -1 },
		"a relative path": func(j *Jail) { j.Exec = "firecracker" },
		"a climbing path": func(j *Jail) { j.Exec = "/usr/../bin/firecracker" },
		"another program": func(j *Jail) { j.Exec = "/bin/sh" },
		"the root dir":    func(j *Jail) { j.Exec = "/" },
	} {
		bad := j
		change(&bad)
		if _, err := JailerArgs(bad); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
