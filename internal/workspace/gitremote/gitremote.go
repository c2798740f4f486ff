// Package gitremote is what a remote helper of git's (gitremote-helpers(7)) says and understands:
// the address of a repository in a VM, and the conversation with git. It knows no VM.
package gitremote

import (
	"bufio"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"banger/api"
)

// Program is the name under which git looks for the helper of URLs that begin with Scheme.
const Program = "git-remote-banger"

// Scheme is what is before the address in a URL; in git's settings, without the colons, it is
// the name of the protocol.
const Scheme = "banger::"

// Address is a repository in a guest.
type Address struct {
	VM   string // its name or id
	Path string // absolute; empty: the directory that banger up has sent
}

// maxPath is PATH_MAX of Linux.
const maxPath = 4095

// A VM's name or id is a DNS label in lower case.
var vmName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62})$`)

// Parse reads an address, NAME or NAME:/PATH, as git hands it to the helper: without Scheme. A URL
// can come from anywhere, such as a stranger's .gitmodules.
func Parse(text string) (Address, error) {
	name, directory, hasPath := strings.Cut(text, ":")
	a := Address{VM: name, Path: directory}
	switch {
	case !vmName.MatchString(name):
		return Address{}, invalid(text, "%.60q is not a valid name of a VM", name)
	case !hasPath:
		return a, nil
	case !path.IsAbs(directory) || strings.HasPrefix(directory, "//"): // banger://NAME is another kind of URL
		return Address{}, invalid(text, "the path in the VM must begin with one slash")
	case len(directory) > maxPath || strings.ContainsFunc(directory, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return Address{}, invalid(text, "the path in the VM is too long, or has control characters")
	}
	return a, nil
}

func invalid(text, format string, args ...any) error {
	return api.Errorf(api.KindInvalid, "cannot use %.80q: "+format, append([]any{Scheme + text}, args...)...).
		WithHint("%sNAME   is what banger up has sent to VM NAME; %sNAME:/PATH   is any repository in it", Scheme, Scheme)
}

// Services are the programs of git's that a connection reaches in the guest.
var Services = []string{"git-upload-pack", "git-receive-pack"}

// Serve answers git until it wants a connection to a service, which connect carries. The answer
// that there is one is written with the first byte of the service's, see Accepted.
func Serve(in *bufio.Reader, out io.Writer, connect func(service string) error) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil // git has ended
		}
		answer := ""
		switch command, argument, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); {
		case command == "":
			return nil // there is nothing more to do
		case command == "capabilities":
			answer = "connect\n\n"
		case command == "connect" && slices.Contains(Services, argument):
			return connect(argument)
		case command == "connect":
			answer = "fallback\n"
		case command == "option":
			answer = "unsupported\n"
		default:
			return api.Errorf(api.KindUnsupported, "git asks for %.40q, which %s does not know", command, Program)
		}
		if _, err := io.WriteString(out, answer); err != nil {
			return err
		}
	}
}

// Accepted returns a writer for what the service says. Before that comes git's answer that the
// connection exists: a service that cannot be started says nothing, and then there is none.
func Accepted(out io.Writer) io.Writer { return &accepted{out: out} }

type accepted struct {
	out  io.Writer
	said bool
}

func (a *accepted) Write(p []byte) (int, error) {
	if !a.said {
		if _, err := io.WriteString(a.out, "\n"); err != nil {
			return 0, err
		}
		a.said = true
	}
	return a.out.Write(p)
}
