package migration

import (
	"encoding/binary"
	"io"
)

// copyBytes reads bytes of a bounded number, copies them to the state stream and returns them,
// until the next read.
func (s *splitter) copyBytes(n int) ([]byte, error) {
	b, err := s.in.Peek(n)
	if err != nil {
		return nil, err
	}
	if _, err := s.out.Write(b); err != nil {
		return nil, err
	}
	_, err = s.in.Discard(n)
	return b, err
}

func (s *splitter) copy8() (byte, error) {
	b, err := s.copyBytes(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

func (s *splitter) copy32() (uint32, error) {
	b, err := s.copyBytes(4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

func (s *splitter) copy64() (uint64, error) {
	b, err := s.copyBytes(8)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(b), nil
}

// name reads a name with its length before it, in one byte, and does not copy it.
func (s *splitter) name() ([]byte, error) {
	n, err := s.in.ReadByte()
	if err != nil {
		return nil, err
	}
	name := make([]byte, 1+int(n))
	name[0] = n
	_, err = io.ReadFull(s.in, name[1:])
	return name, err
}

func (s *splitter) copyName() (string, error) {
	name, err := s.name()
	if err != nil {
		return "", err
	}
	_, err = s.out.Write(name)
	return string(name[1:]), err
}

func (s *splitter) expect8(what string, want byte) error {
	got, err := s.copy8()
	if err == nil && got != want {
		err = malformed("%s %#x, not %#x", what, got, want)
	}
	return err
}

func (s *splitter) expect32(what string, want uint32) error {
	got, err := s.copy32()
	if err == nil && got != want {
		err = malformed("%s %#x, not %#x", what, got, want)
	}
	return err
}
