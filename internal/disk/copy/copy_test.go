package copy_test

import (
	"os"
	"testing"

	"banger/internal/disk/copy"
	"banger/internal/disk/disktest"
)

func TestContract(t *testing.T) {
	disktest.Run(t, copy.New(), t.TempDir(), func(t *testing.T, path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	})
}
