package jailed

import (
	"os"
	"path/filepath"
	"testing"
)

func BenchmarkDigestOf(b *testing.B) {
	dir := b.TempDir()
	file := filepath.Join(dir, "vmlinux")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	boot := NewBootFiles(filepath.Join(dir, "digests.json"))
	if _, err := boot.digestOf(file); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := boot.digestOf(file); err != nil {
			b.Fatal(err)
		}
	}
}
