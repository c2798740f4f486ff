package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"banger/internal/host/console"
	"banger/test/lab/host"
)

// messages are those of the daemons, the VMs and the lab's kernel during a scenario.
type messages struct {
	checks  *checks
	shell   *shell
	health  *health
	machine *host.Machine
	cursor  string // the place in the journal at which this scenario began
}

// said returns the command that prints the journal since the scenario started.
func (m *messages) said(more string) string {
	since := "-b"
	if m.cursor != "" {
		since = "--after-cursor=" + Quote(m.cursor)
	}
	return "journalctl -q --no-pager -o short-precise " + since + " " + more
}

// circumstances returns the last messages of the daemons and the VMs in this scenario.
// The whole journal is written to log.
func (m *messages) circumstances(log io.Writer) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.checks.ctx), time.Minute)
	defer cancel()
	if m.health.alive() != nil {
		m.lastWords(log)
		return ""
	}
	var text bytes.Buffer
	for _, units := range []string{"-u bangerd", "-u bangerd-root", "-u 'banger-vm-*'"} {
		command := m.said("-n 10 " + units)
		out, err := m.shell.conn.Output(ctx, "sh", "-c", command)
		if err != nil {
			fmt.Fprintf(&text, "cannot read the journal: %v\n", err)
			return text.String()
		}
		if out != "" {
			fmt.Fprintf(&text, "journal %s\n%s", units, out)
		}
	}
	if all, err := m.shell.conn.Output(ctx, "sh", "-c", "systemctl --failed --no-pager; "+m.said("")+"; for f in /var/lib/banger/data/vms/*/*.log; do echo \"== $f\"; tail -n 50 $f; done; cat /proc/uptime; tail -n 200 /sys/kernel/tracing/trace; ps -eLo pid,tid,stat,time,wchan:20,comm; sleep 2; ps -eLo tid,stat,time,comm | grep fc_; cat /sys/kernel/tracing/events/kvm/kvm_exit/hist"); err == nil {
		fmt.Fprintf(log, "\n%s", all)
	}
	return text.String()
}

// lastWords writes the last console output of a lost lab.
func (m *messages) lastWords(log io.Writer) {
	const lines = 200 // an oops, and what follows it
	said, err := console.Tail(m.machine.Console(), lines)
	if err != nil {
		fmt.Fprintf(log, "the console of the lab cannot be read: %v\n", err)
		return
	}
	fmt.Fprintf(log, "the last console output of the lab:\n%s\n", console.Sanitize(string(said)))
}
