package migration

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const realSize = 16 << 20

// loaded is where realStream's QEMU has loaded a file into the memory.
const loaded = 1 << 20

// realStream is the stream of the installed QEMU, of a machine that has not started: its memory has only
// the content of a file.
func realStream(t *testing.T, content string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	file := filepath.Join(t.TempDir(), "stream")
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-nodefaults", "-no-user-config", "-display", "none", "-S", "-machine", "microvm", "-accel", "tcg",
		"-device", fmt.Sprintf("loader,addr=%#x,file=%s,force-raw=on", loaded, content),
		"-m", fmt.Sprintf("size=%dB", realSize), "-qmp", "stdio")
	in, err := qemu.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := qemu.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	qemu.Stderr = os.Stderr
	if err := qemu.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(in, `{"execute":"qmp_capabilities"}
{"execute":"migrate-set-capabilities","arguments":{"capabilities":[{"capability":"events","state":true}]}}
{"execute":"migrate","arguments":{"uri":"exec:cat > '%s'"}}
`, file)
	var said bytes.Buffer
	buf := make([]byte, 4<<10)
	for !strings.Contains(said.String(), `"completed"`) {
		n, err := out.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v, and it said: %s", err, said.String())
		}
	}
	fmt.Fprintln(in, `{"execute":"quit"}`)
	for err == nil {
		_, err = out.Read(buf)
	}
	if err := qemu.Wait(); err != nil {
		t.Fatal(err)
	}
	stream, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// TestRealStream: the installed QEMU's own stream, whole, cut and damaged.
func TestRealStream(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a real QEMU")
	}
	bios := biosFile(t)
	content, err := os.ReadFile(bios)
	if err != nil {
		t.Fatal(err)
	}
	stream := realStream(t, bios)
	m, state, result, err := split(stream, realSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of stream: %+v", len(stream), result)
	if result.DataBytes == 0 || int64(len(stream)) < result.DataBytes || int64(len(state)) > int64(len(stream))-result.DataBytes {
		t.Errorf("%d bytes of stream, %d of state: %+v", len(stream), len(state), result)
	}
	want := make([]byte, realSize)
	copy(want[loaded:], content)
	if !bytes.Equal(m.data, want) {
		t.Error("the memory is not what was loaded")
	}
	if result.FirmwareBytes != int64(len(content)) {
		t.Errorf("the BIOS has %d bytes, not %d", result.FirmwareBytes, len(content))
	}
	again, _, second, err := split(state, realSize)
	if err != nil || second.DataBytes != 0 || bytes.Count(again.data, []byte{0}) != len(again.data) {
		t.Errorf("the state has memory in it: %+v, %v", second, err)
	}
	ends := memoryEnd(t, stream)
	r := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		if _, _, _, err := split(stream[:r.IntN(ends)], realSize); !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
	}
	for i := range 400 { // never outside of the memory: the file of this test would panic
		damaged := bytes.Clone(stream[:min(len(stream), ends+1)])
		at := r.IntN(ends)
		if i < 200 {
			at = r.IntN(4 << 10)
		}
		damaged[at] ^= 1 << r.IntN(8)
		_, _, _, _ = split(damaged, realSize)
	}
}

// memoryEnd is where the first device begins: behind the last footer of the memory's section.
func memoryEnd(t *testing.T, stream []byte) int {
	t.Helper()
	end := binary.BigEndian.AppendUint64(nil, flagEnd)
	at := bytes.Index(stream, []byte("\x03ram"))
	if at < 0 {
		t.Fatal("no memory in the stream")
	}
	footer := append(append(end, sectionFooter), stream[at-4:at]...)
	last := bytes.LastIndex(stream, footer)
	if last < 0 {
		t.Fatal("no footer in the stream")
	}
	return last + len(footer)
}

// biosFile is the BIOS that QEMU uses for a microvm: that of the first of its directories.
func biosFile(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "qemu-system-x86_64", "-L", "help").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dir := range strings.Lines(string(out)) {
		file := filepath.Join(strings.TrimSpace(dir), "bios-microvm.bin")
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	t.Fatal("no BIOS")
	return ""
}
