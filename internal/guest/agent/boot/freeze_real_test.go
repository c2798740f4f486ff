package bootup_test

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/guest"
	"banger/internal/guest/agentproto"
	"banger/internal/host/execx"
	"banger/internal/host/fsx"
	"banger/test/harness/guests"
)

// ticker is a program of the guest that prints a number each 100 ms.
const ticker = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"

// numbers reads the lines of a session until it ends.
type numbers struct {
	lines chan int
	last  int
}

func read(t *testing.T, s *guest.Session) *numbers {
	n := &numbers{lines: make(chan int, 10_000)}
	go func() {
		defer close(n.lines)
		for scan := bufio.NewScanner(s.Stdout); scan.Scan(); {
			v, _ := strconv.Atoi(scan.Text())
			n.lines <- v
		}
	}()
	return n
}

// next waits for the next line, which must follow the last one.
func (n *numbers) next(t *testing.T) {
	t.Helper()
	select {
	case v, ok := <-n.lines:
		if !ok || v != n.last+1 {
			t.Fatalf("%d follows %d, %v", v, n.last, ok)
		}
		n.last = v
	case <-time.After(time.Minute):
		t.Fatal("no line for a minute")
	}
}

// within reports how many lines come in a time.
func (n *numbers) within(t *testing.T, d time.Duration) (lines int) {
	t.Helper()
	for over := time.After(d); ; lines++ {
		select {
		case v := <-n.lines:
			if v != n.last+1 {
				t.Fatalf("%d follows %d", v, n.last)
			}
			n.last = v
		case <-over:
			return lines
		}
	}
}

// freezeAndThaw freezes a guest twice while a program prints, and starts another meanwhile.
func freezeAndThaw(t *testing.T, link *guest.Link) {
	c := &guest.Client{Dial: link.Open}
	s, err := c.Exec(t.Context(), api.Exec{Argv: []string{"sh", "-c", ticker}})
	must(t, err)
	defer s.Close()
	n := read(t, s)
	for range 5 {
		n.next(t)
	}
	for _, attempt := range []string{"first", "second"} {
		began := time.Now()
		got, err := c.Freeze(t.Context(), attempt)
		must(t, err)
		t.Logf("frozen in %v: %+v", time.Since(began).Round(time.Millisecond), got)
		if got.Outside != nil || got.Processes == 0 {
			t.Errorf("%+v", got)
		}
		if _, err := c.Freeze(t.Context(), "other"); api.KindOf(err) != api.KindConflict {
			t.Errorf("another attempt: %v", err)
		}
		n.within(t, 500*time.Millisecond) // those on their way
		if lines := n.within(t, 1500*time.Millisecond); lines > 0 {
			t.Errorf("%d lines while frozen", lines)
		}
		late, err := c.Exec(t.Context(), api.Exec{Argv: []string{"cat", "/proc/self/cgroup"}})
		must(t, err)
		select {
		case <-late.Done():
			t.Error("a program ran in a frozen guest")
		case <-time.After(500 * time.Millisecond):
		}
		if thawed, err := c.Thaw(t.Context(), attempt); err != nil || thawed.Lost {
			t.Errorf("%+v, %v", thawed, err)
		}
		for range 10 {
			n.next(t)
		}
		exit, err := late.Wait(t.Context())
		if err != nil || exit.Code != 0 {
			t.Errorf("what was started while frozen: %+v, %v", exit, err)
		}
		late.Close()
	}
}

// TestFreeze freezes real guests: with the agent as init, and beside an init that does not use cgroups
// and has a service.
func TestFreeze(t *testing.T) {
	files := prepare(t)
	t.Run("agent", func(t *testing.T) {
		m := start(t, files, bootArgs(t, func(*agentproto.Boot) {}), makeDisk(t, busyboxDir(t)))
		link := m.connect()
		freezeAndThaw(t, link)
		// A guest that shuts down while it is frozen ends in an orderly way.
		_, err := (&guest.Client{Dial: link.Open}).Freeze(t.Context(), "last")
		must(t, err)
		if out := shutDown(t, m, link); !strings.Contains(out, "banger-agent: stopped") {
			t.Errorf("the console said %q", out)
		}
	})
	t.Run("own init", func(t *testing.T) {
		dir := busyboxDir(t)
		must(t, os.WriteFile(filepath.Join(dir, "init"), []byte("#!/bin/sh\n(while :; do echo x >> /run/service; sleep 0.1; done) &\nwhile :; do sleep 1000; done\n"), 0o755))
		m := start(t, files, bootArgs(t, func(b *agentproto.Boot) { b.Init = "/init" }), makeDisk(t, dir))
		link := m.connect()
		freezeAndThaw(t, link)
		c := &guest.Client{Dial: link.Open}
		s, err := c.Exec(t.Context(), api.Exec{Argv: []string{"sh", "-c", "cat /proc/$(pidof sh | tr ' ' '\\n' | sort -n | sed -n 2p)/cgroup; while :; do wc -l < /run/service; sleep 0.1; done"}})
		must(t, err)
		defer s.Close()
		lines := bufio.NewScanner(s.Stdout)
		lines.Scan()
		if lines.Text() != "0::/" {
			t.Errorf("the service is in %q", lines.Text())
		}
		lines.Scan()
		got, err := c.Freeze(t.Context(), "service")
		must(t, err)
		if groups := strings.Join(got.Groups, " "); groups != "banger-outside banger-work" {
			t.Errorf("frozen: %q", groups)
		}
		_, err = c.Thaw(t.Context(), "service")
		must(t, err)
		shutDown(t, m, link)
	})
}

// connectAs greets the agent as the host does after it has loaded a saved guest.
func (m *machine) connectAs(in agentproto.Incarnation, name string) *guest.Link {
	m.t.Helper()
	conn, err := fsx.DialUnix(m.t.Context(), m.socket)
	must(m.t, err)
	link, err := guest.ConnectAs(m.t.Context(), conn, "test", in, &agentproto.Identity{Hostname: name})
	must(m.t, err)
	return link
}

// TestIncarnation: a real guest becomes a copy of itself while it is frozen.
func TestIncarnation(t *testing.T) {
	dir := busyboxDir(t)
	must(t, os.MkdirAll(filepath.Join(dir, "etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "etc/machine-id"), []byte("0123456789abcdef0123456789abcdef\n"), 0o444))
	m := start(t, prepare(t), bootArgs(t, func(*agentproto.Boot) {}), makeDisk(t, dir))
	link := m.connect()
	c := &guest.Client{Dial: link.Open}
	s, err := c.Exec(t.Context(), api.Exec{Argv: []string{"sh", "-c", "echo begun; while :; do date +%s; sleep 0.1; done"}})
	must(t, err)
	defer s.Close()
	lines := bufio.NewScanner(s.Stdout)
	lines.Scan()
	_, err = c.Freeze(t.Context(), "copy")
	must(t, err)
	link.Close()
	link = m.connectAs(agentproto.Incarnation{Generation: 2, Mode: agentproto.ModeChild}, "copy-1")
	in, done := link.Incarnation()
	if in == nil || in.Generation != 2 || !done.Frozen || !done.Running {
		t.Errorf("%+v, %+v", in, done)
	}
	for _, step := range []string{agentproto.StepRandom, agentproto.StepClock, agentproto.StepHostname, agentproto.StepMachineID, agentproto.StepSessions} {
		if !done.Confirmed(step) {
			t.Errorf("%s: %+v", step, done.Steps)
		}
	}
	t.Logf("%+v", done.Steps)
	if got := run(t, link, "sh", "-c", "hostname; grep -c copy-1 /etc/hosts; grep boot-test /etc/hosts; grep -c 0123456789abcdef /etc/machine-id; until pidof sleep > /dev/null; do :; done; echo continues"); got != "copy-1\n1\n0\ncontinues\n" {
		t.Errorf("%q", got)
	}
	list, err := (&guest.Client{Dial: link.Open}).Sessions(t.Context())
	if err != nil || len(list) != 1 || list[0].State != api.SessionDetached {
		t.Errorf("%+v, %v", list, err)
	}
	shutDown(t, m, link)
}

// systemdDisk makes a disk of the machine's own distribution with systemd.
func systemdDisk(t *testing.T) string {
	t.Helper()
	if _, err := execx.LookPath("mmdebstrap", "mmdebstrap"); err != nil {
		t.Skip("NOT TESTED: a guest with systemd, because this host has no mmdebstrap")
	}
	archive, err := guests.Distribution(t.Context(), "systemd", []string{"systemd", "systemd-sysv", "procps"})
	must(t, err)
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	script := "mkdir root && tar --numeric-owner -xf " + archive + " -C root --exclude=./dev/* && mkfs.ext4 -q -F -d root disk 1G && rm -rf root"
	cmd := execx.Cmd{Name: "sh", Args: []string{"-c", script}, Dir: dir}
	if os.Getuid() != 0 { // the owners of files are those of a user namespace
		cmd.Name, cmd.Args = "unshare", append([]string{"--user", "--map-root-user", "--map-auto", "sh"}, cmd.Args...)
	}
	must(t, execx.Run(t.Context(), cmd))
	return disk
}

// TestFreezeSystemd freezes a guest whose init is systemd: its services, also one with groups of its own
// below, stop with the programs of sessions, and all continue.
func TestFreezeSystemd(t *testing.T) {
	files := prepare(t)
	m := start(t, files, bootArgs(t, func(b *agentproto.Boot) { b.Init = "/sbin/init" }), systemdDisk(t))
	link := m.connect()
	run(t, link, "sh", "-c", "until systemctl is-system-running | grep -E 'running|degraded'; do sleep 0.2; done")
	// As Docker does: a process in a group of its own below the service's.
	run(t, link, "sh", "-c", `echo 'g=/sys/fs/cgroup/system.slice/ticker.service; mkdir $g/below; echo $$ > $g/below/cgroup.procs
		while :; do cut -d" " -f1 /proc/uptime >> /run/ticks; sleep 0.1; done' > /ticker`)
	run(t, link, "systemd-run", "--unit=ticker", "--property=Delegate=yes", "sh", "/ticker")
	run(t, link, "sh", "-c", "until [ -s /run/ticks ]; do sleep 0.1; done; grep -q below /proc/$(systemctl show -P MainPID ticker)/cgroup")
	freezeAndThaw(t, link)
	// The service has its longest pauses while it was frozen, twice for 2.5 s. A busy host may make others.
	gaps := strings.TrimSpace(run(t, link, "sh", "-c", "sleep 1; awk 'NR > 1 && $1-last > 2.4 { n++ } { last = $1 } END { print n+0 }' /run/ticks"))
	if gaps < "2" {
		t.Errorf("the service paused %s times", gaps)
	}
	before := run(t, link, "cat", "/etc/machine-id")
	got, err := (&guest.Client{Dial: link.Open}).Freeze(t.Context(), "groups")
	must(t, err)
	if groups := strings.Join(got.Groups, " "); groups != "system.slice" && groups != "banger-work system.slice" {
		t.Errorf("frozen: %q", groups)
	}
	link.Close()
	link = m.connectAs(agentproto.Incarnation{Generation: 1, Mode: agentproto.ModeChild}, "copy-1")
	_, done := link.Incarnation()
	t.Logf("%+v", done)
	for _, step := range []string{agentproto.StepRandom, agentproto.StepClock, agentproto.StepHostname, agentproto.StepMachineID} {
		if !done.Confirmed(step) || !done.Frozen || !done.Running {
			t.Errorf("%s: %+v", step, done)
		}
	}
	if got := run(t, link, "sh", "-c", "hostname; [ \"$(cat /etc/machine-id)\" = "+strings.TrimSpace(before)+" ] || echo another"); got != "copy-1\nanother\n" {
		t.Errorf("%q", got)
	}
	if state := strings.TrimSpace(run(t, link, "sh", "-c", "systemctl is-system-running || true; systemctl is-active ticker")); !strings.HasPrefix(state, "running\nactive") && !strings.HasPrefix(state, "degraded\nactive") {
		t.Errorf("afterwards: %q", state)
	}
	shutDown(t, m, link)
}
