package repo

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"banger/api"
)

// metadataSkeleton is what is checked before go-tuf parses a file: go-tuf dereferences
// entries that may be null (TargetsType.UnmarshalJSON, VerifyDelegate) before or after
// a signature is checked, and compares all pairs of signatures.
type metadataSkeleton struct {
	Signatures []struct {
		KeyID string `json:"keyid"`
	} `json:"signatures"`
	Signed struct {
		Version int64                `json:"version"`
		Expires time.Time            `json:"expires"`
		Keys    map[string]*struct{} `json:"keys"`
		Roles   map[string]*struct{} `json:"roles"`
		Meta    map[string]*struct {
			Version int64 `json:"version"`
		} `json:"meta"`
		Targets map[string]*struct{} `json:"targets"`
	} `json:"signed"`
}

// maxSignatures is far above any threshold.
const maxSignatures = 64

func readSkeleton(role string, data []byte) (*metadataSkeleton, error) {
	var s metadataSkeleton
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("it is not valid TUF metadata: %w", err)
	}
	if len(s.Signatures) > maxSignatures {
		return nil, fmt.Errorf("it has %d signatures, more than %d", len(s.Signatures), maxSignatures)
	}
	if s.Signed.Version < 1 {
		return nil, errors.New("it has no version")
	}
	if hasNil(s.Signed.Keys) || hasNil(s.Signed.Roles) || hasNil(s.Signed.Meta) || hasNil(s.Signed.Targets) {
		return nil, errors.New("it has an entry without content")
	}
	return &s, s.complete(role)
}

// complete checks that a role's file has all that the workflow reads.
func (s *metadataSkeleton) complete(role string) error {
	switch role {
	case metadata.ROOT:
		for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
			if s.Signed.Roles[name] == nil {
				return fmt.Errorf("it names no keys for %s", name)
			}
		}
	case metadata.TIMESTAMP:
		return s.names("snapshot.json")
	case metadata.SNAPSHOT:
		return s.names("targets.json")
	}
	return nil
}

func (s *metadataSkeleton) names(file string) error {
	if m := s.Signed.Meta[file]; m == nil || m.Version < 1 {
		return fmt.Errorf("it names no %s", file)
	}
	return nil
}

func hasNil[T any](m map[string]*T) bool {
	for _, v := range m {
		if v == nil {
			return true
		}
	}
	return false
}

// refuse makes the error for a repository that is not trusted.
func refuse(format string, args ...any) *api.Error {
	return api.Errorf(api.KindDenied, format, args...)
}

// explain says why a file of the server was not trusted. s is nil if the file could not
// be parsed.
func (f *refresh) explain(role string, s *metadataSkeleton, err error) error {
	switch {
	case s == nil:
		return refuse("cannot read the repository's %s.json: %w", role, err).
			WithHint("`--repository URL` may name something that is not a release repository")
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		return f.expired(role, s.Signed.Expires)
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}):
		return f.unsigned(role, s)
	case errors.Is(err, &metadata.ErrLengthOrHashMismatch{}):
		return mixed(role)
	case errors.Is(err, &metadata.ErrBadVersionNumber{}):
		return f.badVersion(role, s)
	}
	return refuse("cannot trust the repository's %s.json: %w", role, err)
}

func (f *refresh) expired(role string, at time.Time) error {
	days := int(f.trusted.RefTime.Sub(at).Hours() / 24)
	return refuse("cannot trust the repository's %s.json: it expired at %s, %d days before this host's clock (%s)",
		role, at.UTC().Format(time.DateTime), days, f.trusted.RefTime.Format(time.DateTime)).
		WithHint("check the clock with `timedatectl`; if it is right, the repository is not maintained any more, or somebody shows you an old copy of it")
}

// unsigned distinguishes three cases by the key ids of the signatures: untrusted keys,
// too few signatures, and enough signatures of which some are wrong.
func (f *refresh) unsigned(role string, s *metadataSkeleton) error {
	trusted := f.trusted.Root.Signed.Roles[role]
	claimed := 0
	for _, sig := range s.Signatures {
		if slices.Contains(trusted.KeyIDs, sig.KeyID) {
			claimed++
		}
	}
	cause := fmt.Sprintf("it has %d signatures, which would be enough, but some are wrong: it was altered", claimed)
	switch {
	case claimed == 0:
		cause = "it is not signed by any of the keys that the root names for it"
	case claimed < trusted.Threshold:
		cause = fmt.Sprintf("it has %d signatures of the %d that the root requires", claimed, trusted.Threshold)
	}
	return refuse("cannot trust the repository's %s.json: %s", role, cause).
		WithHint("this is not the repository that this banger's root belongs to, or somebody altered it: do not continue")
}

func mixed(role string) error {
	return refuse("cannot trust the repository's %s.json: it is not the one that the rest of the metadata names; files of different releases are mixed", role).
		WithHint("if the repository is being published just now, try again in a minute; otherwise somebody altered it")
}

// badVersion distinguishes an older version from files that do not belong together.
func (f *refresh) badVersion(role string, s *metadataSkeleton) error {
	got := s.Signed.Version
	older := func(file string, got, seen int64) error {
		return refuse("cannot trust the repository: it shows %s version %d, and this host has seen version %d: it is older than last time", file, got, seen).
			WithHint("somebody may be showing you an old copy of the repository; if its publisher really started again from scratch, remove %s", f.opts.Dir)
	}
	switch role {
	case metadata.ROOT:
		return refuse("cannot trust the repository: %s contains version %d", f.nextRoot(), got)
	case metadata.TIMESTAMP:
		if known := f.trusted.Timestamp.Signed; got < known.Version {
			return older("timestamp.json", got, known.Version)
		}
		return older("snapshot.json", s.Signed.Meta["snapshot.json"].Version, f.trusted.Timestamp.Signed.Meta["snapshot.json"].Version)
	case metadata.SNAPSHOT:
		if got == f.trusted.Timestamp.Signed.Meta["snapshot.json"].Version {
			return older("targets.json", s.Signed.Meta["targets.json"].Version, f.trusted.Snapshot.Signed.Meta["targets.json"].Version)
		}
	}
	return mixed(role)
}

func notRepository(base *url.URL) error {
	return api.Errorf(api.KindNotFound, "cannot use %s: there is no release repository (metadata/timestamp.json is missing)", base).
		WithHint("check the URL: it is the directory that holds metadata/ and targets/")
}
