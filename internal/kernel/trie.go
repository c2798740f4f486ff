package kernel

import (
	"encoding/binary"
	"maps"
	"slices"
)

// trie is an index of kmod: keys with values in a tree of their bytes. The format is
// described in libkmod/libkmod-index.h of kmod's sources; tools/depmod.c writes it.
type trie struct{ root *trieNode }

type trieNode struct {
	children map[byte]*trieNode
	values   []trieValue
}

type trieValue struct {
	text     string
	priority uint32 // the lowest is found first
}

const (
	trieMagic   = 0xB007F457
	trieVersion = 2<<16 | 1
	// Bits of a node's offset tell what the node contains.
	trieHasPrefix   = 0x80000000
	trieHasValues   = 0x40000000
	trieHasChildren = 0x20000000
)

func newTrie() *trie { return &trie{&trieNode{}} }

// add adds a key of ASCII characters, which may exist already.
func (t *trie) add(key, value string, priority uint32) {
	n := t.root
	for i := range len(key) {
		if n.children == nil {
			n.children = map[byte]*trieNode{}
		}
		next := n.children[key[i]]
		if next == nil {
			next = &trieNode{}
			n.children[key[i]] = next
		}
		n = next
	}
	n.values = append(n.values, trieValue{value, priority})
}

// bytes returns the file: a header, the nodes from the leaves up, the offset of the
// root.
func (t *trie) bytes() []byte {
	b := binary.BigEndian.AppendUint32(nil, trieMagic)
	b = binary.BigEndian.AppendUint32(b, trieVersion)
	b = binary.BigEndian.AppendUint32(b, 0)
	b, root := t.root.append(b)
	binary.BigEndian.PutUint32(b[8:], root)
	return b
}

// append writes a node after those that it refers to.
func (n *trieNode) append(b []byte) ([]byte, uint32) {
	var prefix []byte // common prefix of the keys
	for len(n.children) == 1 && len(n.values) == 0 {
		for c, child := range n.children {
			prefix, n = append(prefix, c), child
		}
	}
	var first, last byte
	var offsets []uint32
	if len(n.children) > 0 {
		keys := slices.Sorted(maps.Keys(n.children))
		first, last = keys[0], keys[len(keys)-1]
		offsets = make([]uint32, int(last-first)+1)
		for _, c := range keys {
			b, offsets[c-first] = n.children[c].append(b)
		}
	}
	at := uint32(len(b))
	if len(prefix) > 0 {
		at |= trieHasPrefix
		b = append(append(b, prefix...), 0)
	}
	if len(offsets) > 0 {
		at |= trieHasChildren
		b = append(b, first, last)
		for _, o := range offsets {
			b = binary.BigEndian.AppendUint32(b, o)
		}
	}
	if len(n.values) > 0 {
		at |= trieHasValues
		b = binary.BigEndian.AppendUint32(b, uint32(len(n.values)))
		for _, v := range n.values {
			b = binary.BigEndian.AppendUint32(b, v.priority)
			b = append(append(b, v.text...), 0)
		}
	}
	return b, at
}
