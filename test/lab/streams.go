package lab

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"banger/test/lab/versions"
)

// streamsDir is the directory for the output of the owner's clients.
const streamsDir = "/home/" + owner + "/streams"

// count prints a number every half second until a file exists; then how many it has
// printed. It runs in guests and in the lab. More of them make no stream harder to keep,
// and the emulated processor breaks guests by their interrupts (docs/bench/lab-faults.md).
const count = `i=0; while [ ! -e /tmp/enough ]; do i=$((i+1)); echo $i; sleep 0.5; done; echo end $i`

// stamp adds the time, in seconds, before each line.
const stamp = `perl -MTime::HiRes=time -ne '$|=1; printf "%.3f %s", time, $_'`

// talks are the streams that a user may have open to the VM web: each carries numbers,
// in one direction or in both. They are shell commands; port 7 of the guest echoes.
var talks = map[string]string{
	"exec":    "banger vm exec web -- sh -c " + Quote(count),
	"ssh":     "ssh -n web.banger " + Quote(count),
	"publish": "{ " + count + "; } | nc -N 127.0.0.1 7007",
	"forward": "{ " + count + "; } | nc -N 127.0.0.1 7008",
}

// scpRate is the rate of the copy by scp, in kbit/s.
const scpRate = 800

// openStreams are the open streams of the owner's clients to the VM web.
type openStreams struct{ lab *Lab }

// newStreams opens all kinds of streams from the owner to the VM web. The copy by scp
// takes this long, in seconds.
func newStreams(l *Lab, copying int) openStreams {
	s := openStreams{l}
	l.Guest("web", "rm -f /tmp/enough /large")
	l.Run("rm -rf /tmp/enough %[1]s; install -d -o %[2]s %[1]s", streamsDir, owner)
	l.Guest("web", "mkdir -p /tmp; busybox setsid busybox nc -ll -p 7 -e cat </dev/null >/dev/null 2>&1 &")
	l.Dev("banger ssh-config --install && banger vm publish web 7007:7")
	l.Dev("head -c %d /dev/urandom > %s/large", copying*scpRate*1000/8, streamsDir)
	s.client("forwarder", "exec banger vm forward web 7008:7")
	l.Wait("the forward listens", func() bool { return l.Try("ss -Hltn sport = :7008 | grep -q .").Status == 0 })
	s.client("scp", fmt.Sprintf("scp -q -l %d %s/large web.banger:/large", scpRate, streamsDir))
	for name, command := range talks {
		s.client(name, "set -o pipefail; "+command+" | "+stamp)
	}
	for name := range talks {
		l.Wait(name+" has output", func() bool { return l.Try("test -s %s/%s", streamsDir, name).Status == 0 })
	}
	return s
}

// client runs a shell command as the owner, in the background; its standard output and
// status are stored.
func (s openStreams) client(name, command string) {
	script := fmt.Sprintf("cd %s; (%s) >%[3]s 2>%[3]s.err; echo $? >%[3]s.status", streamsDir, command, name)
	s.lab.Run("systemd-run -q --collect --unit=scenario-%s --uid=%s --setenv=HOME=/home/%[2]s bash -c %s", name, owner, Quote(script))
}

// stillOpen ends the scenario if a stream has ended, or does not continue.
func (s openStreams) stillOpen() {
	l := s.lab
	for name := range talks {
		lines := func() string {
			return l.Run("wc -l < %s/%s; ls %[1]s/%[2]s.status 2>/dev/null || true", streamsDir, name)
		}
		before := lines()
		l.Wait(name+" continues", func() bool {
			now := lines()
			if strings.Contains(now, "status") {
				l.Failf("%s has ended: %s", name, l.Run("tail %s/%s*", streamsDir, name))
			}
			return now != before
		})
	}
}

// close ends the streams in an orderly way: all data has arrived, once and in
// order, and the file is complete.
func (s openStreams) close() {
	l := s.lab
	l.Wait("scp ends", func() bool { return l.Try("test -s %s/scp.status", streamsDir).Status == 0 })
	l.Equal("what scp printed, and its status", l.Run("cd %s; cat scp scp.err scp.status", streamsDir), "0")
	l.Equal("the digest of the copy", l.Guest("web", "sha256sum < /large"), l.Dev("sha256sum < %s/large", streamsDir))
	s.stillOpen()
	l.Run("touch /tmp/enough")
	l.Guest("web", "touch /tmp/enough")
	for name := range talks {
		l.Wait(name+" ends", func() bool { return l.Try("test -s %s/%s.status", streamsDir, name).Status == 0 })
		l.Equal("what "+name+" complained of, and its status", l.Run("cd %s; cat %[2]s.err %[2]s.status", streamsDir, name), "0")
		s.heard(name, strings.Split(l.Run("cat %s/%s", streamsDir, name), "\n"))
	}
	l.Run("systemctl stop scenario-forwarder")
	l.Dev("banger vm unpublish web 7007 && banger ssh-config --uninstall")
}

// heard checks the numbers of a stream, and reports its longest pause.
func (s openStreams) heard(name string, lines []string) {
	var silences []time.Duration
	var last float64
	for i, line := range lines {
		at, said, _ := strings.Cut(line, " ")
		want := strconv.Itoa(i + 1)
		if i == len(lines)-1 {
			want = "end " + strconv.Itoa(i)
		}
		if said != want {
			s.lab.Failf("line %d of %s is %q, not %q", i+1, name, said, want)
		}
		seconds, err := strconv.ParseFloat(at, 64)
		if err != nil {
			s.lab.Failf("line %d of %s: %v", i+1, name, err)
		}
		if i > 0 {
			silences = append(silences, time.Duration((seconds-last)*float64(time.Second)).Round(time.Millisecond))
		}
		last = seconds
	}
	slices.Sort(silences)
	s.lab.Note("%s: %d lines, none lost or repeated; pauses: %s (median), %s (p99), %s (longest)", name, len(lines),
		silences[len(silences)/2], silences[len(silences)*99/100], silences[len(silences)-1])
}

// restartStreams: open streams to a guest survive each kind of restart of the daemons.
func restartStreams(l *Lab) {
	l.Start("web")
	web := l.Fingerprint("web")
	l.Points([]string{
		"systemctl restart bangerd", "systemctl restart bangerd-root bangerd",
		"systemctl kill --signal=KILL --kill-whom=main bangerd", "systemctl kill --signal=KILL --kill-whom=main bangerd-root",
		"systemctl stop bangerd bangerd-root && sleep 1 && systemctl start bangerd-root bangerd",
	}, func(restart string) {
		streams := newStreams(l, 20)
		l.Equal("the scp that has ended before the restart", l.Run("ls %s | grep scp.status || true", streamsDir), "")
		l.Run("%s", restart)
		l.Answering()
		streams.stillOpen()
		streams.close()
		l.Unharmed("web", web)
	})
	l.NoLeaks()
}

// updateStreams: they survive an update and its rollback, too.
func updateStreams(l *Lab) {
	u := begin(l, versions.Base, versions.Offers)
	g := startGuests(l, "web")
	streams := newStreams(l, 80)
	l.Run(updateTo + versions.Good)
	u.isVersion(versions.Good)
	streams.stillOpen()
	l.Run("banger update --rollback --settle 2s")
	u.isVersion(versions.Base)
	streams.close()
	g.unharmed()
}
