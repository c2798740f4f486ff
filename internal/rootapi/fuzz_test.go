package rootapi

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"banger/internal/vmid"
)

// decoders has one for each call.
var decoders = map[Verb]func(Request, int) (Call, error){
	Hello: of[HelloCall], DiskAttach: of[DiskAttachCall], DiskStatus: of[DiskStatusCall],
	NetAttach: of[NetAttachCall], BootPut: of[BootPutCall], VMStart: of[VMStartCall],
	VMFind: of[VMFindCall], VMKill: of[VMKillCall], VMRelease: of[VMReleaseCall], VMDial: of[VMDialCall],
	List: of[ListCall], Check: of[CheckCall], Names: of[NamesCall], Clear: of[ClearCall],
}

func of[C Call](r Request, files int) (Call, error) { return Decode[C](r, files) }

// FuzzRequest: whatever bytes arrive, only what Validate accepts is decoded, and
// no id of it can lead out of a directory.
func FuzzRequest(f *testing.F) {
	for _, call := range Calls() {
		body, err := json.Marshal(call)
		if err != nil {
			f.Fatal(err)
		}
		text := strings.ReplaceAll(string(body), `"id":""`, `"id":"`+id+`"`)
		f.Add([]byte(`{"protocol":"1","version":"1","verb":"`+string(call.Verb())+`","body":`+text+`}`), 0)
	}
	f.Fuzz(func(t *testing.T, data []byte, files int) {
		var r Request
		if decodeEnvelope(data, &r) != nil || r.CheckProtocol("1") != nil {
			return
		}
		for verb, decode := range decoders {
			call, err := decode(r, files)
			if err != nil {
				continue
			}
			if err := call.Validate(); err != nil || call.Verb() != verb {
				t.Errorf("%s: %+v was accepted: %v", verb, call, err)
			}
			if least, most := call.Files(); files < least || files > most {
				t.Errorf("%s was accepted with %d files", verb, files)
			}
			again, err := json.Marshal(call)
			if err != nil {
				t.Fatal(err)
			}
			var named struct{ ID *string }
			if json.Unmarshal(again, &named) == nil && named.ID != nil && !vmid.Valid(*named.ID) {
				t.Errorf("%s was accepted for %q", verb, *named.ID)
			}
		}
	})
}

// FuzzMessage: whatever arrives on the socket is refused or read, and leaves no
// descriptor behind.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"protocol":"1","verb":"list"}`), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, files uint8) {
		if len(data) == 0 || len(data) > 2*maxRequest {
			return
		}
		a, b := connected(t)
		raw(t, a, data, null(t, int(files)%6))
		before := descriptors(t)
		r, got, err := ReadRequest(b)
		if err == nil && (len(got) > maxFiles || r.Protocol == "" && len(data) > maxRequest) {
			t.Errorf("%d bytes, %d files", len(data), len(got))
		}
		if err != nil && len(got) > 0 {
			t.Error("an error with files")
		}
		CloseAll(got)
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors became %d", before, after)
		}
	})
}

// TestEveryCallIsFuzzed keeps decoders whole.
func TestEveryCallIsFuzzed(t *testing.T) {
	for _, call := range Calls() {
		if decoders[call.Verb()] == nil {
			t.Errorf("%s is not fuzzed", call.Verb())
		}
	}
	if len(decoders) != len(Calls()) {
		t.Error("there are more decoders than calls")
	}
	if _, err := os.Stat("testdata/fuzz/FuzzRequest"); err != nil {
		t.Error(err)
	}
}
