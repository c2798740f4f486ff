package filecopy

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// sumBlock is the size of prefixSum's blocks in bytes. A partial file is continued at a
// multiple of it.
const sumBlock = 64 << 10

// prefixSum returns a checksum of the first n bytes of f that does not depend on holes:
// blocks of zeros are left out, the others are hashed with their offsets. So holes cost
// nothing.
func prefixSum(f *os.File, n int64) ([]byte, error) {
	sum := sha256.New()
	sum.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	buf := make([]byte, sumBlock)
	for at := int64(0); at < n; at += sumBlock {
		e, ok, err := nextExtent(f, at, n)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		at = e.from / sumBlock * sumBlock
		block := buf[:min(sumBlock, n-at)]
		if got, err := f.ReadAt(block, at); err != nil && !(errors.Is(err, io.EOF) && got == len(block)) {
			if errors.Is(err, io.EOF) {
				return nil, errShorter
			}
			return nil, err
		}
		if !allZero(block) {
			sum.Write(binary.BigEndian.AppendUint64(nil, uint64(at)))
			sum.Write(block)
		}
	}
	return sum.Sum(nil), nil
}
