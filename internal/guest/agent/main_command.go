package agent

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"banger/api"
	"banger/internal/guest/agent/process"
	"banger/internal/guest/stdio"
)

// mainState records whether this boot has had its main command.
type mainState struct {
	mu      sync.Mutex
	started bool
}

// mainCommand is a job that starts the guest's main command, which then runs without a client until
// it ends or the guest ends.
type mainCommand struct {
	server  *server
	command *process.Command
}

func (s *server) newMain(exec api.Exec) mainCommand {
	exec.TTY = false
	return mainCommand{s, s.programs.Command(exec)}
}

// run starts the command, unless this boot already had one: the daemon asks again if it was killed.
func (c mainCommand) run(context.Context, *stdio.Mux) stdio.Exit {
	s := c.server
	s.main.mu.Lock()
	defer s.main.mu.Unlock()
	if s.main.started {
		return stdio.Exit{}
	}
	p, err := c.command.Start()
	if err != nil {
		fmt.Fprintf(s.Console, "banger-agent: the command did not start: %s\n", oneLine(err.Error()))
		return stdio.Exit{Error: api.AsError(err)}
	}
	s.main.started = true
	s.work.Go(func() {
		nothing := io.NopCloser(strings.NewReader(""))
		exit := p.Follow(s.ctx, process.Streams{In: nothing, Out: consoleStream{s.Console}, Err: consoleStream{s.Console}})
		fmt.Fprintf(s.Console, "banger-agent: %s ended with status %d\n", oneLine(p.Name()), exit.Code)
	})
	return stdio.Exit{}
}

func (c mainCommand) signal(number int)        { c.command.Signal(number) }
func (c mainCommand) resize(rows, cols uint16) { c.command.Resize(rows, cols) }

// consoleStream is the console for one of a command's streams.
type consoleStream struct{ io.Writer }

func (consoleStream) Close() error { return nil }

// oneLine makes a message of the agent one line, so that it can be told from other output.
func oneLine(text string) string { return strings.ReplaceAll(text, "\n", "; ") }
