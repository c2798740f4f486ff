package config

import (
	"strings"
	"testing"
)

func TestParseMirrors(t *testing.T) {
	got, err := ParseMirrors("docker.io=mirror.example.com:5000/hub/  quay.io=localhost")
	if err != nil || len(got) != 2 || got["docker.io"] != "mirror.example.com:5000/hub" || got["quay.io"] != "localhost" {
		t.Errorf("%q, %v", got, err)
	}
	if text := formatMirrors(got); text != "docker.io=mirror.example.com:5000/hub quay.io=localhost" {
		t.Errorf("written as %q", text)
	}
	for text, want := range map[string]string{
		"docker.io": "is not REGISTRY=MIRROR", "docker.io=https://m.example": `remove "https://"`, "a=b a=c": "twice", "=b": "is not", "a=": "is not", "a=B": "is not",
	} {
		if _, err := ParseMirrors(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
