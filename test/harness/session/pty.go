package session

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

// ptyCommand runs a program on a terminal of 24 lines and 80 columns and leads
// a dialog with it. A dialog is a file with a word and a text on each line:
//
//	expect TEXT     wait until TEXT is on the terminal, after what was found before
//	type TEXT       type TEXT and the Enter key
//	key C           type one control character: C, D, Z …
//	resize 40 100   make the terminal that large
//	status 0        the program has to end with that status (at the end; 0 if absent)
func ptyCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "pty DIALOG PROGRAM [ARGUMENT...]")
	cmd := command(ts, args[1], args[2:])
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	ts.Check(err)
	d := &dialog{terminal: terminal, changed: make(chan struct{}, 1), ended: make(chan struct{})}
	go d.read()
	status, err := d.lead(ts.ReadFile(args[0]))
	if err != nil {
		_ = cmd.Process.Kill()
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // its status is looked at below
	late.Stop()
	terminal.Close()
	<-d.ended
	fmt.Fprint(ts.Stdout(), strings.ReplaceAll(d.text(), "\r\n", "\n"))
	ts.Check(err)
	if got := waitStatus(cmd.ProcessState); got != status {
		ts.Fatalf("status %d, want %d", got, status)
	}
}

// command makes a command with the environment that the script began with.
func command(ts *testscript.TestScript, name string, args []string) *exec.Cmd {
	path := name
	if !strings.Contains(name, "/") {
		for dir := range strings.SplitSeq(ts.Getenv("PATH"), ":") {
			if info, err := os.Stat(dir + "/" + name); err == nil && info.Mode()&0o111 != 0 {
				path = dir + "/" + name
				break
			}
		}
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = worldOf(ts).env
	return cmd
}

// dialog is what is said on a terminal.
type dialog struct {
	terminal *os.File
	changed  chan struct{} // there is more
	ended    chan struct{} // closed when nothing more comes

	mu   sync.Mutex
	said bytes.Buffer
	seen int // how much of it was found by expect
}

func (d *dialog) read() {
	defer close(d.ended)
	buf := make([]byte, 4096)
	for {
		n, err := d.terminal.Read(buf)
		d.mu.Lock()
		d.said.Write(buf[:n])
		d.mu.Unlock()
		select {
		case d.changed <- struct{}{}:
		default:
		}
		if err != nil {
			return // EIO when the program has ended (pty(7))
		}
	}
}

func (d *dialog) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said.String()
}

// lead says and expects what the script says, and returns the wanted status.
func (d *dialog) lead(script string) (int, error) {
	for line := range strings.Lines(script) {
		word, text, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		var err error
		switch word {
		case "":
		case "expect":
			err = d.expect(text)
		case "type":
			_, err = io.WriteString(d.terminal, text+"\r")
		case "key":
			_, err = d.terminal.Write([]byte{text[0] & 0x1f})
		case "resize":
			var rows, cols uint16
			if _, err = fmt.Sscan(text, &rows, &cols); err == nil {
				err = pty.Setsize(d.terminal, &pty.Winsize{Rows: rows, Cols: cols})
			}
		case "status":
			return strconv.Atoi(text)
		default:
			err = fmt.Errorf("no such word: %q", word)
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", strings.TrimSpace(line), err)
		}
	}
	return 0, nil
}

func (d *dialog) expect(text string) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		d.mu.Lock()
		at := strings.Index(d.said.String()[d.seen:], text)
		if at >= 0 {
			d.seen += at + len(text)
		}
		d.mu.Unlock()
		if at >= 0 {
			return nil
		}
		select {
		case <-d.changed:
		case <-d.ended:
			// One more look: the end may have come with the last words.
			if strings.Contains(d.text()[d.seen:], text) {
				continue
			}
			return errors.New("the program has ended without saying that")
		case <-late.C:
			return fmt.Errorf("not within %s", patience)
		}
	}
}

func waitStatus(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}
