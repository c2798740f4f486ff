package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"banger/api"
	"banger/internal/guest/stdio"
)

// mainCommand is a job that starts the guest's main command, which then runs without a client until
// it ends or the guest ends.
type mainCommand struct{ *command }

// run starts the command, unless this boot already had one: the daemon asks again if it was killed.
func (c mainCommand) run(context.Context, *stdio.Mux) stdio.Exit {
	s := c.server
	s.main.Lock()
	defer s.main.Unlock()
	if s.hasMain {
		return stdio.Exit{}
	}
	c.exec.TTY = false
	program, err := s.resolve(c.exec)
	var p *process
	if err == nil {
		p, err = c.start(program)
	}
	var status statusError
	if errors.As(err, &status) {
		err = api.Errorf(api.KindInvalid, "%s", status.text)
	}
	if err != nil {
		fmt.Fprintf(s.Console, "banger-agent: the command did not start: %s\n", oneLine(err.Error()))
		return stdio.Exit{Error: api.AsError(err)}
	}
	s.hasMain = true
	s.work.Go(func() {
		nothing := io.NopCloser(strings.NewReader(""))
		exit := c.follow(s.ctx, p, streams{nothing, consoleStream{s.Console}, consoleStream{s.Console}})
		fmt.Fprintf(s.Console, "banger-agent: %s ended with status %d\n", oneLine(filepath.Base(program.path)), exit.Code)
	})
	return stdio.Exit{}
}

// consoleStream is the console for one of a command's streams.
type consoleStream struct{ io.Writer }

func (consoleStream) Close() error { return nil }

// oneLine makes a message of the agent one line, so that it can be told from other output.
func oneLine(text string) string { return strings.ReplaceAll(text, "\n", "; ") }
