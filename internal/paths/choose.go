package paths

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"

	"banger/api"
)

// ModeEnv is the environment variable that selects an installation, "user" or "system",
// instead of the one that Choose would find.
const ModeEnv = "BANGER_MODE"

// Choose returns the paths of the installation for a command of the current user: this
// machine's, if there is one and the user is its owner or root, otherwise the user's
// own. BANGER_HOME selects one of the user's own.
func Choose() (Paths, error) { return choose(os.Getenv, os.Getuid(), InstallRecord) }

func choose(env func(string) string, uid int, record string) (Paths, error) {
	switch mode := env(ModeEnv); {
	case mode == "system":
		return System(), nil
	case mode != "" && mode != "user":
		return Paths{}, api.Errorf(api.KindInvalid, "cannot use %s=%q", ModeEnv, mode).WithHint("set it to user or to system")
	case mode == "user" || env("BANGER_HOME") != "":
		return User()
	}
	owner, err := recordedOwner(record)
	if err != nil {
		return Paths{}, api.Errorf(api.KindInvalid, "cannot find the owner of this machine's banger: %w", err).
			WithHint("sudo banger system install\nBANGER_MODE=user banger …   uses your own instead")
	}
	if owner >= 0 && (uid == owner || uid == 0) {
		return System(), nil
	}
	return User()
}

// maxRecord bounds how many bytes of the install record are read.
const maxRecord = 64 << 10

// recordedOwner returns the owner's uid in the install record, or -1 if there is no
// record. Every command calls it, so it reads only that line; package system checks the
// whole record before root uses it.
func recordedOwner(record string) (int, error) {
	f, err := os.Open(record)
	if errors.Is(err, os.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return -1, err
	}
	for line := range bytes.Lines(data) {
		key, value, _ := bytes.Cut(line, []byte("="))
		if string(bytes.TrimSpace(key)) == "uid" {
			uid, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 31)
			if err == nil {
				return int(uid), nil
			}
		}
	}
	return -1, errors.New(record + " names no owner")
}
