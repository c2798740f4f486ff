package buildinfo

import "testing"

func TestGetIsComplete(t *testing.T) {
	info := Get()
	for name, value := range map[string]string{
		"version": info.Version, "commit": info.Commit, "go": info.Go, "platform": info.Platform,
	} {
		if value == "" {
			t.Errorf("%s is empty", name)
		}
	}
}
