package gitremote

import (
	"bufio"
	"errors"
	"strings"
	"testing"

	"banger/api"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Address{
		"dev":                   {VM: "dev"},
		"0123456789ab":          {VM: "0123456789ab"},
		"dev:/workspaces/a b:c": {"dev", "/workspaces/a b:c"},
		"web-1:/":               {"web-1", "/"},
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "-x", "--upload-pack=x", "a..b", "a/b", "../x", "Dev", "dev ", "dev\n", "dev:", "dev:path", "dev:-x", "dev:~/x", "//dev/x",
		"banger://dev/x", "dev:/a\nb", "dev:/\x1b[2J", "user@dev", "dev:/" + strings.Repeat("x", 4095), strings.Repeat("x", 65),
	} {
		if a, err := Parse(text); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%.30q is accepted: %+v, %v", text, a, err)
		}
	}
}

func TestServe(t *testing.T) {
	var out strings.Builder
	in := bufio.NewReader(strings.NewReader("capabilities\noption verbosity 1\nconnect git-upload-archive\nconnect git-upload-pack\n0000rest"))
	service := ""
	err := Serve(in, &out, func(s string) error {
		service = s
		rest, err := in.Peek(8)
		if string(rest) != "0000rest" {
			t.Errorf("the service reads %q", rest)
		}
		return err
	})
	if want := "connect\n\nunsupported\nfallback\n"; err != nil || service != "git-upload-pack" || out.String() != want {
		t.Errorf("%q, %v, said %q", service, err, &out)
	}
	for _, said := range []string{"", "\n", "capabilities\n\n"} {
		if err := Serve(bufio.NewReader(strings.NewReader(said)), &out, nil); err != nil {
			t.Errorf("%q: %v", said, err)
		}
	}
	if err := Serve(bufio.NewReader(strings.NewReader("import refs/heads/x\n")), &out, nil); api.KindOf(err) != api.KindUnsupported {
		t.Error(err)
	}
}

func TestAccepted(t *testing.T) {
	var out strings.Builder
	w := Accepted(&out)
	if out.String() != "" {
		t.Error("git is told of a connection before there is one")
	}
	for _, s := range []string{"a", "b"} {
		if n, err := w.Write([]byte(s)); n != 1 || err != nil {
			t.Error(n, err)
		}
	}
	if out.String() != "\nab" {
		t.Errorf("%q", &out)
	}
	if _, err := Accepted(broken{}).Write([]byte("a")); err == nil {
		t.Error("no error")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }
