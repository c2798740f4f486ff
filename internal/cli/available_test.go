package cli

import (
	"strings"
	"testing"

	"banger/api"
)

func TestAvailableTable(t *testing.T) {
	var out strings.Builder
	err := availableTable([]api.AvailableKernel{
		{Release: "6.1.0-38-cloud-amd64", Version: "6.1.147-1", SizeBytes: 1 << 20, Default: true},
		{Release: "6.1.0-37-cloud-amd64", Version: "6.1.140-1", SizeBytes: 1 << 20, Digest: "sha256:0123456789abcdef"},
		{Release: "6.1.0-36-cloud-amd64", Version: "6.1.139-2", SizeBytes: 1 << 20, Digest: "sha256:0123456789abcdef", Outdated: true},
	}).write(&out)
	want := `RELEASE               VERSION    DOWNLOAD  DEFAULT  IN THE CACHE
6.1.0-38-cloud-amd64  6.1.147-1  1 MiB     yes      -
6.1.0-37-cloud-amd64  6.1.140-1  1 MiB     -        0123456789ab
6.1.0-36-cloud-amd64  6.1.139-2  1 MiB     -        0123456789ab, of another version
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
}
