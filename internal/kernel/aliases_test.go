package kernel

import (
	"path/filepath"
	"strings"
	"testing"
)

// Softdeps may name aliases: ext4's "pre: crypto-crc32c" is crc32c_generic's and
// crc32c-intel's, as it is in Debian's linux-image-amd64.
func TestSoftdepsByAlias(t *testing.T) {
	tree := func(t *testing.T, files map[string]string) *moduleTree {
		dir := filepath.Join(t.TempDir(), fakeRelease)
		write(t, filepath.Join(dir, "modules.builtin"), []byte("kernel/lib/built-in.ko\n"))
		for path, info := range map[string]string{
			"kernel/fs/ext4/ext4.ko":             "softdep=pre: crypto-crc32c\x00depends=jbd2",
			"kernel/fs/jbd2/jbd2.ko":             "depends=",
			"kernel/crypto/crc32c_generic.ko":    "alias=crypto-crc32c-generic\x00alias=crypto-crc32c\x00depends=",
			"kernel/arch/crypto/crc32c-intel.ko": "alias=crypto-crc32c\x00alias=cpu:type:x86,ven*fam*mod*:feature:*0094*\x00depends=",
			"kernel/net/any.ko":                  "softdep=pre: net-pf-2-proto-7 built_in\x00depends=",
			"kernel/net/pattern.ko":              "alias=net-pf-*-proto-7\x00depends=",
		} {
			write(t, filepath.Join(dir, path), tinyModule("license=GPL\x00"+info+"\x00"))
		}
		for path, text := range files {
			write(t, filepath.Join(dir, path), []byte(text))
		}
		tree, err := openModules(dir, readFile)
		must(t, err)
		return tree
	}
	names := func(t *testing.T, tree *moduleTree, want ...string) string {
		modules, err := tree.resolve(want)
		must(t, err)
		var names []string
		for _, m := range modules {
			names = append(names, m.name)
		}
		return strings.Join(names, " ")
	}
	t.Run("from the modules", func(t *testing.T) {
		tree := tree(t, nil)
		if got := names(t, tree, "ext4", "any"); got != "crc32c_generic crc32c_intel jbd2 ext4 pattern any" || tree.absent != nil {
			t.Errorf("got %s, absent %q", got, tree.absent)
		}
	})
	t.Run("from depmod", func(t *testing.T) {
		tree := tree(t, map[string]string{"modules.alias": "# Aliases\nalias crypto-crc32c crc32c_generic\nalias crypto-crc32c gone\n"})
		if got := names(t, tree, "ext4"); got != "crc32c_generic jbd2 ext4" {
			t.Errorf("got %s", got)
		}
		if got := names(t, tree, "any"); got != "any" || strings.Join(tree.absent, ";") != "net-pf-2-proto-7, which any wants" {
			t.Errorf("got %s, absent %q", got, tree.absent)
		}
	})
	t.Run("built in", func(t *testing.T) {
		tree := tree(t, map[string]string{"modules.builtin.modinfo": "crc32c_generic.license=GPL\x00crc32c_generic.alias=crypto-crc32c\x00"})
		if got := names(t, tree, "ext4"); got != "jbd2 ext4" || tree.absent != nil {
			t.Errorf("got %s, absent %q", got, tree.absent)
		}
	})
}
