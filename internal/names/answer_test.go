package names

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

var devAddress = netip.MustParseAddr("10.213.0.7")

// onlyDev knows one VM.
func onlyDev(name string) (netip.Addr, bool) { return devAddress, name == "dev" }

// ask returns a question as a message.
func ask(t testing.TB, name string, kind dnsmessage.Type, change ...func(*dnsmessage.Message)) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 4711, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	for _, c := range change {
		c(&m)
	}
	message, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func read(t testing.TB, answer []byte) dnsmessage.Message {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(answer); err != nil {
		t.Fatalf("%x: %v", answer, err)
	}
	return m
}

func withEDNS(version uint32) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) {
		var h dnsmessage.ResourceHeader
		if err := h.SetEDNS0(4096, 0, true); err != nil {
			panic(err)
		}
		h.TTL |= version << 16
		m.Additionals = append(m.Additionals, dnsmessage.Resource{Header: h, Body: &dnsmessage.OPTResource{}})
	}
}

func TestAnswer(t *testing.T) {
	for _, test := range []struct {
		name  string
		kind  dnsmessage.Type
		code  dnsmessage.RCode
		found bool
	}{
		{"dev.vm.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, true},
		{"dev.banger.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, true},
		{"DeV.Vm.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, true},
		{"dev.vm.", dnsmessage.TypeALL, dnsmessage.RCodeSuccess, true},
		{"dev.vm.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, false},
		{"dev.vm.", dnsmessage.TypeMX, dnsmessage.RCodeSuccess, false},
		{"dev.vm.", dnsmessage.Type(65), dnsmessage.RCodeSuccess, false}, // HTTPS, which browsers ask for
		{"vm.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, false},
		{"banger.", dnsmessage.TypeSOA, dnsmessage.RCodeSuccess, false},
		{"nobody.vm.", dnsmessage.TypeA, dnsmessage.RCodeNameError, false},
		{"nobody.vm.", dnsmessage.TypeAAAA, dnsmessage.RCodeNameError, false},
		{"www.dev.vm.", dnsmessage.TypeA, dnsmessage.RCodeNameError, false},
		{"dev.", dnsmessage.TypeA, dnsmessage.RCodeRefused, false},
		{".", dnsmessage.TypeNS, dnsmessage.RCodeRefused, false},
		{"dev.vm.example.", dnsmessage.TypeA, dnsmessage.RCodeRefused, false},
		{"dev.xvm.", dnsmessage.TypeA, dnsmessage.RCodeRefused, false},
	} {
		m := read(t, Answer(ask(t, test.name, test.kind), onlyDev))
		if m.ID != 4711 || !m.Response || m.RCode != test.code || m.Authoritative != (test.code != dnsmessage.RCodeRefused) || m.Truncated ||
			!m.RecursionDesired || len(m.Questions) != 1 || m.Questions[0].Name.String() != test.name || len(m.Additionals) != 0 {
			t.Errorf("%s %s: %+v", test.name, test.kind, m)
		}
		if test.found != (len(m.Answers) == 1) {
			t.Errorf("%s %s: answers %+v", test.name, test.kind, m.Answers)
		}
		for _, r := range m.Answers {
			a, ok := r.Body.(*dnsmessage.AResource)
			if !ok || a.A != devAddress.As4() || r.Header.TTL != 0 || r.Header.Name.String() != test.name {
				t.Errorf("%s: %+v", test.name, r)
			}
		}
	}
}

func TestAnswerToEDNS(t *testing.T) {
	m := read(t, Answer(ask(t, "dev.vm.", dnsmessage.TypeA, withEDNS(0)), onlyDev))
	if len(m.Answers) != 1 || len(m.Additionals) != 1 || m.Additionals[0].Header.Type != dnsmessage.TypeOPT || m.Additionals[0].Header.Class != udpSize {
		t.Errorf("%+v", m)
	}
	m = read(t, Answer(ask(t, "dev.vm.", dnsmessage.TypeA, withEDNS(1)), onlyDev))
	if len(m.Answers) != 0 || len(m.Additionals) != 1 || m.Additionals[0].Header.ExtendedRCode(m.RCode) != badVersion {
		t.Errorf("another version: %+v", m)
	}
	m = read(t, Answer(ask(t, "dev.vm.", dnsmessage.TypeA, withEDNS(0), withEDNS(0)), onlyDev))
	if len(m.Answers) != 0 || m.RCode != dnsmessage.RCodeFormatError {
		t.Errorf("twice: %+v", m)
	}
}

func TestOtherMessages(t *testing.T) {
	question := ask(t, "dev.vm.", dnsmessage.TypeA)
	for what, message := range map[string][]byte{
		"nothing":       nil,
		"half a header": question[:11],
		"an answer":     ask(t, "dev.vm.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Response = true }),
	} {
		if answer := Answer(message, onlyDev); answer != nil {
			t.Errorf("%s was answered: %x", what, answer)
		}
	}
	many := func(m *dnsmessage.Message) {
		for range 1000 {
			m.Questions = append(m.Questions, m.Questions[0])
		}
	}
	lies := bytes.Clone(question)
	lies[5] = 255 // 255 questions, of which one is there
	loop := append(bytes.Clone(question[:12]), 0xc0, 12, 0, 1, 0, 1)
	extra := bytes.Clone(question)
	extra[11] = 9 // additional records that are not there
	for what, test := range map[string]struct {
		message []byte
		code    dnsmessage.RCode
	}{
		"no question":             {ask(t, "dev.vm.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Questions = nil }), dnsmessage.RCodeFormatError},
		"many questions":          {ask(t, "dev.vm.", dnsmessage.TypeA, many), dnsmessage.RCodeFormatError},
		"fewer than it says":      {lies, dnsmessage.RCodeFormatError},
		"a cut name":              {question[:15], dnsmessage.RCodeFormatError},
		"a name that leads to it": {loop, dnsmessage.RCodeFormatError},
		"records that are cut":    {extra, dnsmessage.RCodeFormatError},
		"an update":               {ask(t, "dev.vm.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.OpCode = 5 }), dnsmessage.RCodeNotImplemented},
		"another class":           {ask(t, "dev.vm.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }), dnsmessage.RCodeRefused},
	} {
		m := read(t, Answer(test.message, onlyDev))
		if m.ID != 4711 || m.RCode != test.code || len(m.Answers) != 0 || m.Authoritative {
			t.Errorf("%s: %+v", what, m)
		}
	}
	long := strings.Repeat(strings.Repeat("x", 62)+".", 3) + strings.Repeat("x", 50) + ".vm."
	if m := read(t, Answer(ask(t, long, dnsmessage.TypeA), onlyDev)); m.RCode != dnsmessage.RCodeNameError {
		t.Errorf("a long name: %+v", m)
	}
}

// FuzzAnswer: no message is answered with more than one record, with a name that was not asked
// for, or with what another program cannot read; and an answer is never answered.
func FuzzAnswer(f *testing.F) {
	f.Add(ask(f, "dev.vm.", dnsmessage.TypeA))
	f.Add(ask(f, "dev.banger.", dnsmessage.TypeAAAA, withEDNS(0)))
	f.Add(ask(f, "dev.vm.", dnsmessage.TypeA, withEDNS(0), withEDNS(3)))
	f.Add(ask(f, "vm.", dnsmessage.TypeNS))
	f.Add(ask(f, "example.org.", dnsmessage.TypeALL))
	f.Add(ask(f, "dev.vm.", dnsmessage.TypeA)[:20])
	f.Add(append(ask(f, "dev.vm.", dnsmessage.TypeA)[:12], 0xc0, 12, 0, 1, 0, 1))
	f.Fuzz(func(t *testing.T, message []byte) {
		asked := ""
		answer := Answer(message, func(name string) (netip.Addr, bool) {
			asked = name
			return devAddress, len(name)%2 == 0
		})
		if answer == nil {
			return
		}
		m := read(t, answer)
		if !m.Response || len(m.Answers) > 1 || len(m.Authorities) > 0 || len(m.Additionals) > 1 || len(answer) > 512 {
			t.Fatalf("%+v", m)
		}
		if len(m.Answers) == 1 && !strings.EqualFold(m.Answers[0].Header.Name.String(), asked+".vm.") &&
			!strings.EqualFold(m.Answers[0].Header.Name.String(), asked+".banger.") {
			t.Fatalf("asked for %q: %+v", asked, m)
		}
		if again := Answer(answer, onlyDev); again != nil {
			t.Fatalf("an answer is answered: %x", again)
		}
	})
}
