package repotest

import (
	"fmt"
	"os"
	"time"
)

// Older shows the timestamp of an earlier version again: a rollback or, if the client
// has seen nothing newer, a freeze (TUF specification, 1.5.2).
func (r *Repo) Older(version int64) error {
	return copyFile(r.Metadata("timestamp.json"), r.Metadata(fmt.Sprintf("%d.timestamp.json", version)))
}

// Mix shows the file of an earlier version ("snapshot" or "targets") as that of
// the last one.
func (r *Repo) Mix(role string, version int64) error {
	return copyFile(r.Metadata(fmt.Sprintf("%d.%s.json", r.version, role)), r.Metadata(fmt.Sprintf("%d.%s.json", version, role)))
}

// Expire publishes a role's metadata that expired a day ago.
func (r *Repo) Expire(role string) error {
	r.Expires[role] = time.Now().Add(-24 * time.Hour).UTC().Truncate(time.Second)
	if role == "root" {
		return r.PublishRoot()
	}
	return r.Publish()
}

// WrongKeys publishes a role's metadata, signed by as many keys as it has, but by none
// of its own.
func (r *Repo) WrongKeys(role string) error {
	for i := range r.Signers[role] {
		r.Signers[role][i] = Key()
	}
	return r.Publish()
}

// BelowThreshold publishes a role's metadata with one signature less than required.
func (r *Repo) BelowThreshold(role string) error {
	r.Signers[role] = r.Signers[role][:thresholds[role].needed-1]
	return r.Publish()
}

// Alter changes a byte of a published archive.
func (r *Repo) Alter(name string) error {
	data, err := os.ReadFile(r.Archive(name))
	if err != nil {
		return err
	}
	data[len(data)/2] ^= 1
	return os.WriteFile(r.Archive(name), data, 0o644)
}

// Resize truncates a published archive, or adds zeros to it.
func (r *Repo) Resize(name string, by int64) error {
	return os.Truncate(r.Archive(name), r.targets[name].Length+by)
}

// Swap shows one published archive as the other.
func (r *Repo) Swap(shown, as string) error { return copyFile(r.Archive(as), r.Archive(shown)) }

func copyFile(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}
