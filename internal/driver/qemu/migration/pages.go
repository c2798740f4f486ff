package migration

import "io"

// runBytes is how much of the memory is written at once, at most.
const runBytes = 1 << 20

// pages writes the memory: neighbouring pages at once, and pages of zeros not at all unless they
// had other content.
type pages struct {
	to    io.WriterAt
	bytes int64

	written []uint64 // a bit for each page that has content, or will have with run
	count   int64    // of these
	run     []byte   // content that is not written yet
	at      int64    // where it belongs
}

func newPages(to io.WriterAt, bytes int64) *pages {
	return &pages{
		to: to, bytes: bytes,
		written: make([]uint64, (bytes/PageBytes+63)/64), run: make([]byte, 0, runBytes),
	}
}

// read reads the content of a page.
func (p *pages) read(r io.Reader, at int64) error {
	page, err := p.next(at)
	if err != nil {
		return err
	}
	_, err = io.ReadFull(r, page)
	return err
}

// zero makes a page one of zeros.
func (p *pages) zero(at int64) error {
	if word, bit := place(at); p.written[word]&bit == 0 {
		return nil
	}
	page, err := p.next(at)
	clear(page)
	return err
}

// next returns where the content of a page goes.
func (p *pages) next(at int64) ([]byte, error) {
	if len(p.run) == cap(p.run) || at != p.at+int64(len(p.run)) {
		if err := p.flush(); err != nil {
			return nil, err
		}
		p.at = at
	}
	if word, bit := place(at); p.written[word]&bit == 0 {
		p.written[word] |= bit
		p.count++
	}
	p.run = p.run[:len(p.run)+PageBytes]
	return p.run[len(p.run)-PageBytes:], nil
}

func place(at int64) (word int64, bit uint64) {
	page := at / PageBytes
	return page / 64, 1 << (page % 64)
}

func (p *pages) flush() error {
	if len(p.run) == 0 {
		return nil
	}
	_, err := p.to.WriteAt(p.run, p.at)
	p.run = p.run[:0]
	return err
}

func (p *pages) dataBytes() int64 { return p.count * PageBytes }
