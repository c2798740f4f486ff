package manifest

import (
	"io"
	"math"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/guest/filecopy"
)

// Receive reads what became of the changes that Send has sent, and calls each with one result
// after the other, in the order of the changes. An error of each ends it, and Send. If the stream
// ends too early the error is ErrCut.
func (c *Changes) Receive(r io.Reader, each func(Placed) error) error {
	defer close(c.stop)
	in := newInput(r, math.MaxInt64, ErrCut)
	for sent := range c.sent {
		p := Placed{Path: sent.path, Err: sent.err}
		if !sent.unsent {
			if err := in.placed(sent, &p); err != nil {
				return err
			}
		}
		if err := each(p); err != nil {
			return err
		}
	}
	if c.failed != nil {
		return cut(c.failed)
	}
	return in.end()
}

// placed reads the answer to one change.
func (in *input) placed(sent sentChange, p *Placed) error {
	answer, err := in.ReadByte()
	if err != nil {
		return err
	}
	switch {
	case answer == answerRefused:
		return in.unplaced(sent, p)
	case answer == answerOther:
		if p.Err == nil {
			p.Err = api.Errorf(api.KindConflict, "cannot %s %s in the guest: it was changed meanwhile", sent.verb, quote(sent.path))
		}
		return nil
	case answer == answerUnmade && sent.err != nil:
		return nil
	case answer == answerMade && sent.err == nil && sent.kind == "":
		return nil
	case answer == answerMade && sent.err == nil:
		p.Entry = Entry{Path: sent.path, Type: sent.kind, Link: sent.link}
		return new(deltas).read(in, &p.Entry)
	}
	return violation("the answer to a change is of kind %d", answer)
}

// unplaced reads why a change could not be made.
func (in *input) unplaced(sent sentChange, p *Placed) error {
	number, err := in.number(maxErrno)
	switch {
	case err != nil:
		return err
	case number == 0:
		return violation("the number of an error is 0")
	case p.Err != nil:
		return nil
	}
	errno := unix.Errno(number)
	kind := filecopy.KindOf(errno)
	if kind == api.KindNoSpace {
		p.Err = api.Errorf(kind, "cannot %s %s in the guest: its disk is full: %w", sent.verb, quote(sent.path), errno)
		return nil
	}
	p.Err = api.Errorf(kind, "cannot %s %s in the guest: %w", sent.verb, quote(sent.path), errno)
	return nil
}
