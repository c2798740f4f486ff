package agentproto_test

import (
	"net/netip"
	"strings"
	"testing"

	"banger/internal/guest/agentproto"
)

func TestBootThereAndBack(t *testing.T) {
	for _, want := range []agentproto.Boot{
		{Hostname: "calm-fox", Root: "/dev/vda"},
		{Hostname: "calm-fox", Root: "/dev/vda", Init: "/sbin/init", Address: netip.MustParsePrefix("10.0.2.15/24"),
			Gateway: netip.MustParseAddr("10.0.2.2"), DNS: netip.MustParseAddr("10.0.2.3"), Search: "corp.example,a_b.example"},
		{Probe: true},
	} {
		text, err := want.Cmdline()
		if err != nil {
			t.Fatal(err)
		}
		got, err := agentproto.ParseBoot(agentproto.BaseCmdline + " " + text + "\n")
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		want.Vsock = true
		if got, err := agentproto.ParseBoot(text + " " + agentproto.VsockArg); err != nil || got != want {
			t.Errorf("by vsock: %+v, %v", got, err)
		}
	}
	for _, bad := range []string{"a b", "a,", "a..b", "x\ny", "a!b", strings.Repeat("a", 64)} {
		if _, err := (agentproto.Boot{Hostname: "x", Root: "/dev/vda", Search: bad}).Cmdline(); err == nil {
			t.Errorf("the domains %q were taken", bad)
		}
	}
	for _, bad := range []string{"../x", "", "-a", "a-", "A", "a.b", "a_b", strings.Repeat("a", 64)} {
		if _, err := agentproto.ParseBoot("banger.hostname=" + bad); err == nil {
			t.Errorf("the host name %q was taken", bad)
		}
	}
	longest := agentproto.Boot{Hostname: strings.Repeat("a", 63), Root: "/dev/vda", Search: "A-b." + strings.Repeat("a", 63)}
	if _, err := longest.Cmdline(); err != nil {
		t.Error(err)
	}
}
