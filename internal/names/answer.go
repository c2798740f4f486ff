package names

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"banger/internal/host/network"
)

// Lookup returns the address of the running VM with a name, in lower case.
type Lookup func(name string) (netip.Addr, bool)

// ttl of an answer, in seconds: nobody keeps it (RFC 1035, 3.2.1), as the next VM of the name has
// another address. Answers without an address carry no SOA, so that they are not kept either (RFC
// 2308, 5).
const ttl = 0

const (
	// udpSize is what a question or an answer may have by UDP (the DNS flag day of 2020).
	udpSize = 1232
	// badVersion is the extended code for a version of EDNS that is not known (RFC 6891, 9).
	badVersion = dnsmessage.RCode(16)
)

// Answer returns the answer to a message, or nil if it deserves none: it is not a question, or
// has no complete header. Answers have one record at most, and fit into any packet.
func Answer(message []byte, lookup Lookup) []byte {
	var p dnsmessage.Parser
	header, err := p.Start(message)
	if err != nil || header.Response {
		return nil
	}
	r := reply{Header: dnsmessage.Header{
		ID: header.ID, Response: true, OpCode: header.OpCode, RecursionDesired: header.RecursionDesired,
		// Not that anything is looked up elsewhere; dnsmasq warns of servers without it.
		RecursionAvailable: header.RecursionDesired,
	}}
	if header.OpCode != 0 {
		r.RCode = dnsmessage.RCodeNotImplemented
		return r.pack()
	}
	// Every implementation asks one question; RFC 9619 requires it.
	questions, err := p.AllQuestions()
	if err != nil || len(questions) != 1 {
		r.RCode = dnsmessage.RCodeFormatError
		return r.pack()
	}
	r.question = &questions[0]
	if r.readEDNS(&p); r.RCode == dnsmessage.RCodeSuccess {
		r.answer(lookup)
	}
	return r.pack()
}

// reply is an answer in the making.
type reply struct {
	dnsmessage.Header
	question *dnsmessage.Question // nil: the message could not be read
	edns     bool
	address  netip.Addr // invalid: none
}

// readEDNS looks for the record by which an asker says that it knows EDNS (RFC 6891). The parser
// is after the question.
func (r *reply) readEDNS(p *dnsmessage.Parser) {
	err := p.SkipAllAnswers()
	if err == nil {
		err = p.SkipAllAuthorities()
	}
	for err == nil {
		var h dnsmessage.ResourceHeader
		if h, err = p.AdditionalHeader(); err != nil {
			break
		}
		if h.Type == dnsmessage.TypeOPT {
			if r.edns {
				r.RCode = dnsmessage.RCodeFormatError // RFC 6891, 6.1.1: one at most
				return
			}
			r.edns = true
			if version := h.TTL >> 16 & 0xff; version != 0 {
				r.RCode = badVersion
			}
		}
		err = p.SkipAdditional()
	}
	if !errors.Is(err, dnsmessage.ErrSectionDone) {
		r.RCode = dnsmessage.RCodeFormatError
	}
}

func (r *reply) answer(lookup Lookup) {
	name := strings.TrimSuffix(strings.ToLower(r.question.Name.String()), ".")
	label, zone, below := cutLast(name)
	if !slices.Contains(network.Zones(), zone) || r.question.Class != dnsmessage.ClassINET && r.question.Class != dnsmessage.ClassANY {
		r.RCode = dnsmessage.RCodeRefused
		return
	}
	r.Authoritative = true
	if !below {
		return // the zone itself, which has no records
	}
	address, known := lookup(label)
	switch {
	case !known:
		r.RCode = dnsmessage.RCodeNameError
	case r.question.Type == dnsmessage.TypeA || r.question.Type == dnsmessage.TypeALL:
		r.address = address
	}
}

// cutLast splits a name at its last dot. Without one, all of it is the zone.
func cutLast(name string) (label, zone string, below bool) {
	at := strings.LastIndexByte(name, '.')
	if at < 0 {
		return "", name, false
	}
	return name[:at], name[at+1:], true
}

// pack returns the message. One that cannot be built, which no question can cause, is nil.
func (r *reply) pack() []byte {
	extended := r.RCode
	r.RCode &= 0xf
	b := dnsmessage.NewBuilder(nil, r.Header)
	b.EnableCompression()
	var errs []error
	try := func(err error) { errs = append(errs, err) }
	if r.question != nil {
		try(b.StartQuestions())
		try(b.Question(*r.question))
	}
	if r.address.Is4() {
		try(b.StartAnswers())
		h := dnsmessage.ResourceHeader{Name: r.question.Name, Class: dnsmessage.ClassINET, TTL: ttl}
		try(b.AResource(h, dnsmessage.AResource{A: r.address.As4()}))
	}
	if r.edns {
		try(b.StartAdditionals())
		var h dnsmessage.ResourceHeader
		try(h.SetEDNS0(udpSize, extended, false))
		try(b.OPTResource(h, dnsmessage.OPTResource{}))
	}
	message, err := b.Finish()
	if err != nil || slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		return nil
	}
	return message
}
