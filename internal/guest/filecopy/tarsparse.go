package filecopy

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// tarBlock is the unit of tar streams.
const tarBlock = 512

// sparse writes a file with holes in GNU's format 1.0, which package archive/tar reads
// but does not write (GNU tar manual, "Storing Sparse Files"): the PAX header contains
// the file's name and size; then follow the number of extents, and offset and length of
// each, a decimal number a line, padded to a block; then the extents.
func (p *packer) sparse(f *os.File, h *tar.Header, extents []extent) error {
	if err := p.tar.Flush(); err != nil {
		return err
	}
	// GNU tar marks the size by an empty extent at the end.
	table := fmt.Sprintf("%d\n", len(extents)+1)
	stored := int64(0)
	for _, e := range append(extents[:len(extents):len(extents)], extent{h.Size, h.Size}) {
		table += fmt.Sprintf("%d\n%d\n", e.from, e.to-e.from)
		stored += e.to - e.from
	}
	table += strings.Repeat("\x00", padding(int64(len(table))))
	head, err := sparseHeader(h, int64(len(table))+stored)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(p.w, head+table); err != nil {
		return err
	}
	for _, e := range extents {
		n, err := io.Copy(p.w, io.NewSectionReader(f, e.from, e.to-e.from))
		if err == nil && n < e.to-e.from {
			err = fmt.Errorf("%s: %w", Quote(f.Name()), errShorter)
		}
		if err != nil {
			return err
		}
	}
	_, err = p.w.Write(make([]byte, padding(stored)))
	return err
}

func padding(n int64) int { return int(-n & (tarBlock - 1)) }

// sparseHeader renders the PAX header and the ordinary one after it.
func sparseHeader(h *tar.Header, size int64) (string, error) {
	records := maps.Clone(h.PAXRecords)
	records["GNU.sparse.major"], records["GNU.sparse.minor"] = "1", "0"
	records["GNU.sparse.name"] = h.Name
	records["GNU.sparse.realsize"] = strconv.FormatInt(h.Size, 10)
	records["mtime"] = fmt.Sprintf("%d.%09d", h.ModTime.Unix(), h.ModTime.Nanosecond())
	if h.ModTime.Unix() < 0 {
		records["mtime"] = strconv.FormatInt(h.ModTime.Unix(), 10)
	}
	records["uid"], records["gid"] = strconv.Itoa(h.Uid), strconv.Itoa(h.Gid)
	var body strings.Builder
	for _, key := range slices.Sorted(maps.Keys(records)) {
		body.WriteString(paxRecord(key, records[key]))
	}
	extended, err := plainHeader('x', "PaxHeaders.0/sparse", 0, int64(body.Len()))
	if err != nil {
		return "", err
	}
	// Programs that do not support this format create a file of this name.
	plain, err := plainHeader(tar.TypeReg, "GNUSparseFile.0/sparse", h.Mode, size)
	if err != nil {
		return "", err
	}
	return extended + body.String() + strings.Repeat("\x00", padding(int64(body.Len()))) + plain, nil
}

// paxRecord renders one record, whose length includes its own digits (pax(1)).
func paxRecord(key, value string) string {
	rest := len(key) + len(value) + 3
	length := rest + len(strconv.Itoa(rest))
	if rest+len(strconv.Itoa(length)) != length {
		length = rest + len(strconv.Itoa(length))
	}
	return fmt.Sprintf("%d %s=%s\n", length, key, value)
}

// plainHeader renders one block: GNU's format, which supports any size, with the name
// of the file that PAX headers belong to.
func plainHeader(kind byte, name string, mode, size int64) (string, error) {
	var b bytes.Buffer
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size, Format: tar.FormatGNU}
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return "", err
	}
	block := b.Bytes()[:tarBlock]
	block[156] = kind // offsets are those of tar(5)
	copy(block[257:], "ustar\x0000")
	copy(block[148:156], "        ") // in the checksum its own field counts as blanks
	sum := 0
	for _, c := range block {
		sum += int(c)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return string(block), nil
}
