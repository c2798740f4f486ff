package session

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"runtime"

	"github.com/rogpeppe/go-internal/testscript"
)

// mkimageCommand makes an archive as `docker save` does, of layers that are tar
// archives and of the "config" part of the image's configuration, a JSON file.
func mkimageCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 3, "mkimage FILE CONFIG LAYER...")
	config := []byte(ts.ReadFile(args[1]))
	var layers [][]byte
	for _, name := range args[2:] {
		data, err := os.ReadFile(ts.MkAbs(name))
		ts.Check(err)
		layers = append(layers, data)
	}
	archive, err := savedImage(config, layers)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), archive, 0o644))
}

// savedImage is the archive
// (https://github.com/moby/docker-image-spec/blob/main/spec.md).
func savedImage(config []byte, layers [][]byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	var ids, names []string
	for i, data := range layers {
		hex := digest(data)
		ids = append(ids, "sha256:"+hex)
		names = append(names, hex+"/layer.tar")
		if err := addFile(w, names[i], data); err != nil {
			return nil, err
		}
	}
	whole, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": json.RawMessage(config),
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal([]any{map[string]any{"Config": digest(whole) + ".json", "RepoTags": nil, "Layers": names}})
	if err != nil {
		return nil, err
	}
	if err := addFile(w, digest(whole)+".json", whole); err != nil {
		return nil, err
	}
	if err := addFile(w, "manifest.json", manifest); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func addFile(w *tar.Writer, name string, data []byte) error {
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(data))})
	if err == nil {
		_, err = w.Write(data)
	}
	return err
}
