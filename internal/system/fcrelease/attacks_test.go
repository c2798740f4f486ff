package fcrelease

import (
	"archive/tar"
	"debug/elf"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/fetch"
	"banger/internal/system/fcrelease/fctest"
	"banger/internal/update/repotest"
)

const (
	old  = "1.16.0" // is used
	next = "1.16.1" // is offered, and something is wrong with it
)

// attack is something wrong with a release or with who offers it. It must be refused
// for that reason with nothing changed, and an honest release must be taken after it.
type attack struct {
	name string
	do   func(t *testing.T, fx *fixture)
	want string
	kind api.Kind // KindDenied where ""
}

func TestAttacks(t *testing.T) {
	for _, list := range [][]attack{digestAttacks, serverAttacks, archiveAttacks(), programAttacks()} {
		for _, a := range list {
			t.Run(a.name, a.run)
		}
	}
}

func (a attack) run(t *testing.T) {
	fx := newFixture(t).with(old)
	fx.page.Publish(next)
	honest := *fx.Client
	a.do(t, fx)
	before := tree(t, fx.Dir)
	_, err := fx.Get(t.Context(), Want{})
	if a.kind == "" {
		a.kind = api.KindDenied
	}
	if err == nil || !strings.Contains(err.Error(), a.want) || api.KindOf(err) != a.kind {
		t.Errorf("%v (%s), want %q (%s)", err, api.KindOf(err), a.want, a.kind)
	}
	if after := tree(t, fx.Dir); after != before {
		t.Errorf("it was\n%.3000s\nand is\n%.3000s", before, after)
	}
	if fx.used() != old {
		t.Error("used is", fx.used())
	}
	const later = "1.16.2"
	fx.page.Handler.Behave()
	fx.page.Publish(later)
	fx.Client, fx.Source, fx.archiveMax, fx.othersMax = &honest, fx.page.URL(), 0, 0
	if _, err := fx.Get(t.Context(), Want{}); err != nil || fx.used() != later {
		t.Errorf("an honest one afterwards: %v", err)
	}
}

// misbehave answers requests for a file of the next release otherwise.
func misbehave(suffix string, do http.HandlerFunc) func(*testing.T, *fixture) {
	return func(_ *testing.T, fx *fixture) {
		fx.Client = clientOf(fx.page, 2*time.Second)
		fx.page.Handler.Misbehave(suffix, do)
	}
}

const (
	tgz    = ".tgz"
	digest = ".sha256.txt"
)

var digestAttacks = []attack{
	{name: "wrong digest", do: misbehave(digest, repotest.Answer(fctest.Sum(next, []byte("another")))), want: "was published"},
	{name: "digest of another file", do: misbehave(digest, repotest.Answer(fctest.Sum(old, fctest.Archive(next)))), want: "it belongs to another file"},
	{name: "digest without a name", do: misbehave(digest, repotest.Answer([]byte(strings.Repeat("0", 64)+"\n"))), want: "it is not a line of sha256sum"},
	{name: "short digest", do: misbehave(digest, repotest.Answer([]byte("00  "+fctest.Name(next)+"\n"))), want: "it is not a valid SHA-256"},
	{name: "no hexadecimal", do: misbehave(digest, repotest.Answer([]byte(strings.Repeat("x", 64)+"  "+fctest.Name(next)+"\n"))), want: "it is not a valid SHA-256"},
	{name: "a web page for a digest", do: misbehave(digest, repotest.Answer([]byte("<html>not here</html>"))), want: "its SHA-256 cannot be read"},
	{name: "endless digest", do: misbehave(digest, repotest.Endless([]byte("x"))), want: "it is too long"},
	{name: "no digest", do: misbehave(digest, http.NotFound), want: "has no " + fctest.Name(next) + ".sha256.txt", kind: api.KindNotFound},
	{name: "a digest that changes", do: func(t *testing.T, fx *fixture) {
		fx.page.PublishArchive(next, repotest.Archive(and(repotest.Entry{Name: "more", Data: []byte("x")})...))
		_, err := fx.Get(t.Context(), Want{})
		check(t, err)
		_, err = fx.Back(false)
		check(t, err)
		fx.page.Publish(next)
	}, want: "a release must not change"},
}

var serverAttacks = []attack{
	{name: "no archive", do: misbehave(tgz, http.NotFound), want: "does not have it", kind: api.KindNotFound},
	{name: "truncated", do: misbehave(tgz, truncated(true)), want: "it was cut off after 200 of"},
	{name: "truncated, of unknown length", do: misbehave(tgz, truncated(false)), want: "was published"},
	{name: "longer than published", do: misbehave(tgz, repotest.Answer(append(fctest.Archive(next), 0))), want: "was published"},
	{name: "endless", do: func(t *testing.T, fx *fixture) {
		fx.archiveMax = 8 << 20
		fx.page.Handler.Misbehave(tgz, repotest.Endless(fctest.Archive(next)))
	}, want: "it has more than 8 MiB"},
	{name: "too long by its own word", do: misbehave(tgz, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(maxArchive+1))
	}), want: "it has more than 256 MiB"},
	{name: "stalls", do: misbehave(tgz, repotest.StallAfter([]byte("x"))), want: "the server sent next to nothing for 2s", kind: api.KindTimeout},
	{name: "drips", do: misbehave(tgz, repotest.Drip(20*time.Millisecond)), want: "the server sent next to nothing for 2s", kind: api.KindTimeout},
	{name: "archive from plain HTTP", do: misbehave(tgz, plain(fctest.Archive(next))), want: "which is not encrypted"},
	{name: "digest from plain HTTP", do: misbehave(digest, plain(fctest.Sum(next, fctest.Archive(next)))), want: "which is not encrypted"},
	{name: "newest from plain HTTP", do: misbehave("latest", func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, "http://example.com/tag/v"+next, http.StatusFound)
	}), want: "which is not encrypted"},
	{name: "redirects without end", do: misbehave(tgz, func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, req.URL.Path, http.StatusFound)
	}), want: "redirects more than 5 times"},
	{name: "newest leads nowhere", do: misbehave("latest", repotest.Answer([]byte("hello"))), want: "does not lead to a release", kind: api.KindNotFound},
	{name: "newest is no version", do: misbehave("latest", func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, "/tag/v1.16.1%2f..%2f..", http.StatusFound)
	}), want: "404", kind: api.KindInternal},
	{name: "newest is too old", do: misbehave("latest", func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, "/tag/v1.7.0", http.StatusFound)
	}), want: "it has no ACPI tables", kind: api.KindUnsupported},
	{name: "a failing server", do: misbehave("latest", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }), want: "502 Bad Gateway", kind: api.KindInternal},
	{name: "a certificate that nobody vouches for", do: func(t *testing.T, fx *fixture) {
		fx.page.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshake fails, as it should
		fx.Client = NewClient(fetch.Options{})
	}, want: "failed to verify certificate", kind: api.KindInternal},
	{name: "no network", do: func(_ *testing.T, fx *fixture) {
		gone := httptest.NewServer(http.NotFoundHandler())
		gone.Close()
		fx.Source = gone.URL
	}, want: "connection refused", kind: api.KindInternal},
}

// truncated sends the first bytes of the archive.
func truncated(saysLength bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		data := fctest.Archive(next)
		if saysLength {
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		}
		_, _ = w.Write(data[:200])
	}
}

// plain redirects to a server that is not encrypted and has what is wanted.
func plain(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if req.TLS == nil {
			_, _ = w.Write(data)
			return
		}
		http.Redirect(w, req, "http://"+req.Host+req.URL.Path, http.StatusFound)
	}
}

// of is an attack by an archive that was published with its digest.
func of(name, want string, entries []repotest.Entry) attack {
	return attack{name: name, want: want, do: func(_ *testing.T, fx *fixture) { fx.page.PublishArchive(next, repotest.Archive(entries...)) }}
}

// instead returns the entries of a good archive, with another in place of one.
func instead(program string, e repotest.Entry) []repotest.Entry {
	all := fctest.Entries(next)
	for i := range all {
		if all[i].Name == fctest.Entry(next, program) {
			if e.Name == "" {
				e.Name = all[i].Name
			}
			all[i] = e
		}
	}
	return all
}

func and(more ...repotest.Entry) []repotest.Entry { return append(fctest.Entries(next), more...) }

func archiveAttacks() []attack {
	jailer := fctest.Entry(next, "jailer")
	program := fctest.Program("Jailer v" + next + "\n")
	bomb := make([]byte, 20<<20)
	return []attack{
		of("symbolic link", "is a symbolic link, not a file", instead("jailer", repotest.Entry{Type: tar.TypeSymlink, Link: "/bin/sh"})),
		of("symbolic link beside", "is a symbolic link, not a file", and(repotest.Entry{Name: "x", Type: tar.TypeSymlink, Link: "/bin/sh"})),
		of("hard link", "is a hard link, not a file", instead("firecracker", repotest.Entry{Type: tar.TypeLink, Link: "/bin/sh"})),
		of("hard link beside", "is a hard link, not a file", and(repotest.Entry{Name: "x", Type: tar.TypeLink, Link: jailer})),
		of("device", "is a device, not a file", instead("jailer", repotest.Entry{Type: tar.TypeChar})),
		of("FIFO", "is a FIFO, not a file", instead("jailer", repotest.Entry{Type: tar.TypeFifo})),
		of("directory", "is a directory, not a file", instead("jailer", repotest.Entry{Type: tar.TypeDir})),
		of("twice", "is there twice", and(repotest.Entry{Name: jailer, Data: program})),
		of("twice, with a dot", "is there twice", and(repotest.Entry{Name: "./" + jailer, Data: program})),
		of("no jailer", jailer+" is missing", instead("jailer", repotest.Entry{Name: "x", Data: program})),
		of("jailer elsewhere", jailer+" is missing", instead("jailer", repotest.Entry{Name: "../" + jailer, Data: program})),
		of("absolute", jailer+" is missing", instead("jailer", repotest.Entry{Name: "/usr/local/bin/jailer", Data: program})),
		of("of another architecture by name", jailer+" is missing", instead("jailer", repotest.Entry{Name: strings.ReplaceAll(jailer, "x86_64", "aarch64"), Data: program})),
		of("setuid", "with a setuid, setgid or sticky bit", instead("jailer", repotest.Entry{Mode: 0o4755, Data: program})),
		of("empty", "has 0 bytes", instead("jailer", repotest.Entry{})),
		of("huge", fmt.Sprintf("1 to %d are allowed", maxProgram), instead("jailer", repotest.Entry{Data: make([]byte, maxProgram+1)})),
		{name: "bomb", want: "it unpacks to more than", do: func(_ *testing.T, fx *fixture) {
			fx.othersMax = 10 << 20
			fx.page.PublishArchive(next, repotest.Archive(append([]repotest.Entry{{Name: "bomb", Data: bomb}}, fctest.Entries(next)...)...))
		}},
		{name: "something behind", want: "there is data after its compressed data", do: func(_ *testing.T, fx *fixture) {
			fx.page.PublishArchive(next, append(fctest.Archive(next), "more"...))
		}},
		{name: "no archive at all", want: "it is not compressed with gzip", do: func(_ *testing.T, fx *fixture) {
			fx.page.PublishArchive(next, []byte("<html>hello</html>"))
		}},
		{name: "cut off before it was published", want: "it is cut off", do: func(_ *testing.T, fx *fixture) {
			fx.page.PublishArchive(next, fctest.Archive(next)[:200])
		}},
	}
}

func programAttacks() []attack {
	narrow := fctest.Program("Jailer v" + next + "\n")
	narrow[elf.EI_CLASS] = byte(elf.ELFCLASS32)
	broken := fctest.Program("Jailer v" + next + "\n")
	copy(broken[64:], make([]byte, 56)) // no segments: the kernel refuses it
	all := []attack{
		of("of another architecture", "its jailer is for another architecture (EM_AARCH64), but this machine is x86_64",
			instead("jailer", repotest.Entry{Data: fctest.ProgramFor(elf.EM_AARCH64, "Jailer v"+next+"\n")})),
		of("of 32 bits", "is for another architecture", instead("jailer", repotest.Entry{Data: narrow})),
		of("a script", "its jailer is not a program", instead("jailer", repotest.Entry{Data: []byte("#!/bin/sh\necho Jailer v" + next + "\n")})),
		of("shorter than a program's head", "its jailer is not a program", instead("jailer", repotest.Entry{Data: []byte("\x7fELF")})),
		of("programs of unlike versions", "its jailer reports version 1.16.0", instead("jailer", repotest.Entry{Data: fctest.Program("Jailer v1.16.0\n")})),
		of("a version with a suffix", "reports version 1.16.1-dirty", instead("jailer", repotest.Entry{Data: fctest.Program("Jailer v1.16.1-dirty\n")})),
		{name: "another version under this name", want: "release-v1.16.1-x86_64/firecracker-v1.16.1-x86_64 is missing", do: func(_ *testing.T, fx *fixture) {
			fx.page.PublishArchive(next, fctest.Archive(old))
		}},
	}
	for name, data := range map[string][]byte{
		"not a jailer": fctest.Program("Firecracker v" + next + "\n"),
		"says nothing": fctest.Program(""),
	} {
		a := of(name, "cannot determine the version of jailer", instead("jailer", repotest.Entry{Data: data}))
		a.kind = api.KindUnsupported
		all = append(all, a)
	}
	dies := of("does not run", "cannot use the jailer in "+fctest.Name(next), instead("jailer", repotest.Entry{Data: broken}))
	dies.kind = api.KindUnsupported
	return append(all, dies)
}
