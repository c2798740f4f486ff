// Package fctest makes releases of Firecracker for tests, with tiny programs that print
// a version, and an HTTPS server that publishes them like Firecracker's release page.
package fctest

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"banger/internal/update/repotest"
)

// Arch is the architecture that the programs are for.
const Arch = "x86_64"

// Program is a program for x86-64 that prints a text and exits.
func Program(says string) []byte { return ProgramFor(elf.EM_X86_64, says) }

// ProgramFor is Program with another architecture in its header (elf(5)).
func ProgramFor(machine elf.Machine, says string) []byte {
	const base, head = 0x400000, 64 + 56
	var code bytes.Buffer
	code.Write([]byte{0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0})  // mov eax, 1 (write); mov edi, 1
	code.Write([]byte{0x48, 0x8d, 0x35, 16, 0, 0, 0, 0xba}) // lea rsi, [rip+16], which is says; mov edx,
	write(&code, uint32(len(says)))
	code.Write([]byte{0x0f, 0x05, 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05}) // syscall; mov eax, 60 (exit); xor edi, edi; syscall
	code.WriteString(says)
	size := uint64(head + code.Len())
	var out bytes.Buffer
	write(&out, elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Entry: base + head, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	})
	write(&out, elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x1000})
	out.Write(code.Bytes())
	return out.Bytes()
}

func write(to *bytes.Buffer, v any) {
	if err := binary.Write(to, binary.LittleEndian, v); err != nil {
		panic(err)
	}
}

// Name returns the name of a version's archive.
func Name(version string) string { return "firecracker-v" + version + "-" + Arch + ".tgz" }

// Entry is the name of a program in the archive of a version.
func Entry(version, program string) string {
	return fmt.Sprintf("release-v%[1]s-%[2]s/%[3]s-v%[1]s-%[2]s", version, Arch, program)
}

// Entries are those of a good archive: the programs, and some other files.
func Entries(version string) []repotest.Entry {
	return []repotest.Entry{
		{Name: "release-v" + version + "-" + Arch + "/", Type: '5'},
		{Name: Entry(version, "firecracker") + ".debug", Data: []byte("symbols")},
		{Name: Entry(version, "jailer"), Data: Program("Jailer v" + version + "\n")},
		{Name: Entry(version, "firecracker"), Data: Program("Firecracker v" + version + "\n\nSupported snapshot data format versions: v8.0.0\n")},
		{Name: "release-v" + version + "-" + Arch + "/SHA256SUMS", Data: []byte("sums"), Mode: 0o644},
	}
}

// Archive returns a good archive.
func Archive(version string) []byte { return repotest.Archive(Entries(version)...) }

// Sum returns the output of sha256sum(1) for an archive.
func Sum(version string, archive []byte) []byte {
	return fmt.Appendf(nil, "%x  %s\n", sha256.Sum256(archive), Name(version))
}

// Server is a release page. The files are on another host, to which it redirects.
type Server struct {
	*httptest.Server
	Handler *repotest.Handler // call Misbehave to inject faults
	store   *httptest.Server  // the other host

	mu     sync.Mutex
	newest string
	files  map[string][]byte
	asked  []string
}

// Serve serves a page without releases until Close.
func Serve() *Server {
	s := &Server{files: map[string][]byte{}}
	s.Handler = &repotest.Handler{Files: http.HandlerFunc(s.answer)}
	s.Server, s.store = httptest.NewTLSServer(s.Handler), httptest.NewTLSServer(s.Handler)
	return s
}

// Close ends both servers.
func (s *Server) Close() {
	s.Server.Close()
	s.store.Close()
}

// URL is the page's address.
func (s *Server) URL() string { return s.Server.URL + "/fc/releases" }

// Publish publishes a good release, which becomes the newest.
func (s *Server) Publish(version string) { s.PublishArchive(version, Archive(version)) }

// PublishArchive publishes an archive with its digest as the newest release.
func (s *Server) PublishArchive(version string, archive []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = version
	s.files[Name(version)] = archive
	s.files[Name(version)+".sha256.txt"] = Sum(version, archive)
}

// Asked returns the files that were requested since the last call.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func (s *Server) answer(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name, ok := strings.CutPrefix(req.URL.Path, "/store/"); ok && s.files[name] != nil {
		s.asked = append(s.asked, name)
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(s.files[name]))
		return
	}
	path, _ := strings.CutPrefix(req.URL.Path, "/fc/releases/")
	version, name, _ := strings.Cut(strings.TrimPrefix(path, "download/v"), "/")
	switch {
	case path == "latest" && s.newest != "":
		http.Redirect(w, req, s.URL()+"/tag/v"+s.newest, http.StatusFound)
	case s.files[name] != nil && strings.Contains(name, version):
		http.Redirect(w, req, s.store.URL+"/store/"+name, http.StatusFound)
	default:
		http.NotFound(w, req)
	}
}
