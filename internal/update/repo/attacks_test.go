package repo

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"banger/api"
	"banger/internal/fetch"
	"banger/internal/update/release"
	"banger/internal/update/repotest"
)

// attack is something wrong with the repository or its server after the host has
// seen it once. The refresh, or the download after it, must fail for that reason
// and leave everything as it was.
type attack struct {
	name  string
	do    func(*testing.T, *fixture)
	want  string
	kind  api.Kind // KindDenied where ""
	learn []string // genuine metadata that the host may keep although it refuses the rest
}

func TestAttacks(t *testing.T) {
	for _, list := range [][]attack{metadataAttacks, keyAttacks, descriptionAttacks, archiveAttacks, serverAttacks} {
		for _, a := range list {
			t.Run(a.name, func(t *testing.T) {
				t.Parallel()
				a.run(t)
			})
		}
	}
}

func (a attack) run(t *testing.T) {
	fx := newFixture(t)
	a.do(t, fx)
	known := fmt.Sprint(fx.host.targets)
	state, into := tree(t, fx.state, a.learn...), tree(t, fx.into)
	err := fx.host.Refresh(t.Context())
	if err == nil {
		_, err = fx.host.Download(t.Context(), fx.latest(t), fx.into, nil)
	}
	if a.kind == "" {
		a.kind = api.KindDenied
	}
	if err == nil || !strings.Contains(err.Error(), a.want) || api.KindOf(err) != a.kind {
		t.Errorf("%v (%s), want %q (%s)", err, api.KindOf(err), a.want, a.kind)
	}
	if got := tree(t, fx.state, a.learn...); got != state {
		t.Errorf("the state was\n%s\nand is\n%s", state, got)
	}
	if got := tree(t, fx.into); got != into {
		t.Errorf("it left %s", got)
	}
	if got := fmt.Sprint(fx.host.targets); got != known {
		t.Errorf("the host knew\n%s\nand now\n%s", known, got)
	}
}

// publish is an honest release after what the host has seen.
func (fx *fixture) publish(t *testing.T) {
	t.Helper()
	add(t, fx.Repo, "v1.11.0", platform)
	check(t, fx.Publish())
}

// forge writes metadata signed by a role's real keys: what their thief can do.
func forge[T metadata.Roles](t *testing.T, fx *fixture, role, file string, m *metadata.Metadata[T]) {
	t.Helper()
	data, err := repotest.Sign(m, fx.Signers[role]...)
	check(t, err)
	check(t, os.WriteFile(fx.Metadata(file), data, 0o644))
}

func week() time.Time { return time.Now().Add(7 * 24 * time.Hour).UTC() }

func forgeTimestamp(t *testing.T, fx *fixture, version, snapshot int64) {
	t.Helper()
	m := metadata.Timestamp(week())
	m.Signed.Version, m.Signed.Meta["snapshot.json"] = version, metadata.MetaFile(snapshot)
	forge(t, fx, metadata.TIMESTAMP, "timestamp.json", m)
}

func forgeSnapshot(t *testing.T, fx *fixture, version, targets int64) {
	t.Helper()
	m := metadata.Snapshot(week())
	m.Signed.Version, m.Signed.Meta["targets.json"] = version, metadata.MetaFile(targets)
	forge(t, fx, metadata.SNAPSHOT, fmt.Sprintf("%d.snapshot.json", version), m)
}

var metadataAttacks = []attack{
	{
		name: "older metadata",
		do: func(t *testing.T, fx *fixture) {
			fx.publish(t)
			check(t, fx.host.Refresh(t.Context()))
			check(t, fx.Older(1))
		},
		want: "it shows timestamp.json version 1, and this host has seen version 2",
	},
	{
		name: "older metadata, next run",
		do: func(t *testing.T, fx *fixture) {
			fx.publish(t)
			check(t, fx.host.Refresh(t.Context()))
			check(t, fx.Older(1))
			seen := fx.host.targets
			fx.host = fx.open(t, fx.server.URL)
			fx.host.targets = seen
		},
		want: "it shows timestamp.json version 1, and this host has seen version 2",
	},
	{
		name: "older snapshot, stolen timestamp key",
		do: func(t *testing.T, fx *fixture) {
			fx.publish(t)
			check(t, fx.host.Refresh(t.Context()))
			forgeTimestamp(t, fx, 3, 1)
		},
		want: "it shows snapshot.json version 1, and this host has seen version 2",
	},
	{
		name: "older targets, stolen timestamp and snapshot keys",
		do: func(t *testing.T, fx *fixture) {
			fx.publish(t)
			check(t, fx.host.Refresh(t.Context()))
			forgeSnapshot(t, fx, 3, 1)
			forgeTimestamp(t, fx, 3, 3)
		},
		want:  "it shows targets.json version 1, and this host has seen version 2",
		learn: []string{"timestamp.json"},
	},
	{name: "expired root", do: expire(metadata.ROOT), want: "root.json: it expired at", learn: []string{"2.root.json"}},
	{name: "expired timestamp", do: expire(metadata.TIMESTAMP), want: "timestamp.json: it expired at"},
	{name: "expired snapshot", do: expire(metadata.SNAPSHOT), want: "snapshot.json: it expired at", learn: []string{"timestamp.json"}},
	{name: "expired targets", do: expire(metadata.TARGETS), want: "targets.json: it expired at", learn: []string{"timestamp.json", "snapshot.json"}},
	{
		name: "freeze",
		do:   func(_ *testing.T, fx *fixture) { fx.now = fx.now.Add(10 * 24 * time.Hour) },
		want: "root.json: it expired at",
	},
	{
		name: "freeze of the timestamp",
		do: func(t *testing.T, fx *fixture) {
			fx.Expires[metadata.ROOT] = time.Now().Add(1000 * time.Hour).UTC()
			check(t, fx.PublishRoot())
			check(t, fx.host.Refresh(t.Context()))
			fx.now = fx.now.Add(10 * 24 * time.Hour)
		},
		want: "timestamp.json: it expired at",
	},
	{
		name:  "mixed snapshots",
		do:    func(t *testing.T, fx *fixture) { fx.publish(t); check(t, fx.Mix("snapshot", 1)) },
		want:  "snapshot.json: it is not the one that the rest of the metadata names; files of different releases are mixed",
		learn: []string{"timestamp.json"},
	},
	{
		name:  "mixed targets",
		do:    func(t *testing.T, fx *fixture) { fx.publish(t); check(t, fx.Mix("targets", 1)) },
		want:  "targets.json: it is not the one that the rest of the metadata names; files of different releases are mixed",
		learn: []string{"timestamp.json", "snapshot.json"},
	},
	{
		name:  "mixed snapshots, versions only",
		do:    func(t *testing.T, fx *fixture) { fx.Bare = true; fx.publish(t); check(t, fx.Mix("snapshot", 1)) },
		want:  "snapshot.json: it is not the one",
		learn: []string{"timestamp.json"},
	},
	{
		name:  "mixed targets, versions only",
		do:    func(t *testing.T, fx *fixture) { fx.Bare = true; fx.publish(t); check(t, fx.Mix("targets", 1)) },
		want:  "targets.json: it is not the one",
		learn: []string{"timestamp.json", "snapshot.json"},
	},
	{
		name: "a file is missing",
		do: func(t *testing.T, fx *fixture) {
			fx.publish(t)
			check(t, os.Remove(fx.Metadata("2.targets.json")))
		},
		want:  "it lacks 2.targets.json, which its own metadata names",
		learn: []string{"timestamp.json", "snapshot.json"},
	},
}

func expire(role string) func(*testing.T, *fixture) {
	return func(t *testing.T, fx *fixture) { check(t, fx.Expire(role)) }
}

// nextRoot writes 2.root.json as change and the keys make it.
func nextRoot(t *testing.T, fx *fixture, change func(*metadata.RootType), keys int) {
	t.Helper()
	m, err := metadata.Root().FromBytes(fx.Root())
	check(t, err)
	m.Signed.Version = 2
	change(&m.Signed)
	signers := fx.Signers[metadata.ROOT]
	if keys == 0 {
		fx.Signers[metadata.ROOT] = append(signers[:0:0], repotest.Key(), repotest.Key())
	} else {
		fx.Signers[metadata.ROOT] = signers[:keys]
	}
	forge(t, fx, metadata.ROOT, "2.root.json", m)
}

var keyAttacks = []attack{
	{name: "wrong timestamp key", do: wrongKeys(metadata.TIMESTAMP), want: "timestamp.json: it is not signed by any of the keys"},
	{name: "wrong snapshot key", do: wrongKeys(metadata.SNAPSHOT), want: "snapshot.json: it is not signed by any of the keys", learn: []string{"timestamp.json"}},
	{name: "wrong targets keys", do: wrongKeys(metadata.TARGETS), want: "targets.json: it is not signed by any of the keys", learn: []string{"timestamp.json", "snapshot.json"}},
	{
		name:  "targets below threshold",
		do:    func(t *testing.T, fx *fixture) { check(t, fx.BelowThreshold(metadata.TARGETS)) },
		want:  "targets.json: it has 1 signatures of the 2 that the root requires",
		learn: []string{"timestamp.json", "snapshot.json"},
	},
	{
		name: "wrong root keys",
		do:   func(t *testing.T, fx *fixture) { nextRoot(t, fx, func(*metadata.RootType) {}, 0) },
		want: "root.json: it is not signed by any of the keys",
	},
	{
		name: "root below threshold",
		do:   func(t *testing.T, fx *fixture) { nextRoot(t, fx, func(*metadata.RootType) {}, 1) },
		want: "root.json: it has 1 signatures of the 2",
	},
	{
		name: "root of another version",
		do:   func(t *testing.T, fx *fixture) { nextRoot(t, fx, func(r *metadata.RootType) { r.Version = 3 }, 2) },
		want: "2.root.json contains version 3",
	},
	{
		name: "root without consistent snapshots",
		do: func(t *testing.T, fx *fixture) {
			nextRoot(t, fx, func(r *metadata.RootType) { r.ConsistentSnapshot = false }, 2)
		},
		want:  "its root declares that file names contain no versions",
		learn: []string{"2.root.json"},
	},
	{
		name: "root without keys for a role",
		do: func(t *testing.T, fx *fixture) {
			nextRoot(t, fx, func(r *metadata.RootType) { delete(r.Roles, metadata.TARGETS) }, 2)
		},
		want: "it names no keys for targets",
	},
	{
		name: "a signature is altered",
		do: func(t *testing.T, fx *fixture) {
			fx.publish(t)
			data, err := os.ReadFile(fx.Metadata("timestamp.json"))
			check(t, err)
			check(t, os.WriteFile(fx.Metadata("timestamp.json"), bytes.Replace(data, []byte(`"version":2`), []byte(`"version":9`), 1), 0o644))
		},
		want: "timestamp.json: it has 1 signatures, which would be enough, but some are wrong",
	},
	{
		name: "roots without end",
		do: func(t *testing.T, fx *fixture) {
			fx.host.rotations = 3
			for range fx.host.rotations + 1 {
				check(t, fx.PublishRoot())
			}
		},
		want:  "it has more than 3 new ones",
		learn: []string{"2.root.json", "3.root.json", "4.root.json"},
	},
	{
		name: "many signatures",
		do: func(t *testing.T, fx *fixture) {
			m := metadata.Timestamp(week())
			for i := range maxSignatures + 1 {
				m.Signatures = append(m.Signatures, metadata.Signature{KeyID: fmt.Sprint(i)})
			}
			data, err := m.ToBytes(false)
			check(t, err)
			check(t, os.WriteFile(fx.Metadata("timestamp.json"), data, 0o644))
		},
		want: "timestamp.json: it has 65 signatures, more than 64",
	},
	{
		name: "an entry without content",
		do: func(t *testing.T, fx *fixture) {
			fx.Bare = true // so that nothing but its parsing protects the host
			fx.publish(t)
			check(t, os.WriteFile(fx.Metadata("2.targets.json"), []byte(`{"signatures":[],"signed":{"_type":"targets","version":2,"targets":{"x":null}}}`), 0o644))
		},
		want:  "targets.json: it has an entry without content",
		learn: []string{"timestamp.json", "snapshot.json"},
	},
}

func wrongKeys(role string) func(*testing.T, *fixture) {
	return func(t *testing.T, fx *fixture) { check(t, fx.WrongKeys(role)) }
}

// describe publishes a release that the targets' keys signed and that is wrong.
func describe(t *testing.T, fx *fixture, change func(*release.Info, *metadata.TargetFiles)) {
	t.Helper()
	info := repotest.Info("v1.11.0", platform)
	name, err := fx.Add(info, archiveOf("v1.11.0"))
	check(t, err)
	change(&info, fx.Target(name))
	if fx.Target(name).Custom != nil {
		custom, err := json.Marshal(info)
		check(t, err)
		raw := json.RawMessage(custom)
		fx.Target(name).Custom = &raw
	}
	check(t, fx.Publish())
}

func described(name, want string, change func(*release.Info, *metadata.TargetFiles)) attack {
	return attack{
		name:  "release " + name,
		do:    func(t *testing.T, fx *fixture) { describe(t, fx, change) },
		want:  `cannot use release "banger_v1.11.0_linux_amd64.tar.gz": what was signed about it is wrong: ` + want,
		learn: []string{"timestamp.json", "snapshot.json", "targets.json"},
	}
}

var descriptionAttacks = []attack{
	described("of another version", "it describes itself as v9.0.0 for linux/amd64", func(i *release.Info, _ *metadata.TargetFiles) { i.Version = "v9.0.0" }),
	described("for another platform", "it describes itself as v1.11.0 for linux/arm64", func(i *release.Info, _ *metadata.TargetFiles) { i.Platform = "linux/arm64" }),
	described("without a version", `"" is not a valid version`, func(i *release.Info, _ *metadata.TargetFiles) { i.Version = "" }),
	described("without a description", "it has no description", func(_ *release.Info, f *metadata.TargetFiles) { f.Custom = nil }),
	described("without SHA-256", "it has no SHA-256", func(_ *release.Info, f *metadata.TargetFiles) {
		f.Hashes = metadata.Hashes{"sha512": make([]byte, 64)}
	}),
	described("without a length", "0 bytes is not a valid length of an archive", func(_ *release.Info, f *metadata.TargetFiles) { f.Length = 0 }),
	described("too long", "268435457 bytes is not a valid length of an archive", func(_ *release.Info, f *metadata.TargetFiles) { f.Length = release.MaxArchive + 1 }),
}

const latestName = "banger_v1.10.0_linux_amd64.tar.gz"

var archiveAttacks = []attack{
	{name: "altered archive", do: func(t *testing.T, fx *fixture) { check(t, fx.Alter(latestName)) }, want: "was signed: it was altered"},
	{name: "longer archive", do: func(t *testing.T, fx *fixture) { check(t, fx.Resize(latestName, 1)) }, want: "bytes were signed, but the server offers "},
	{name: "shorter archive", do: func(t *testing.T, fx *fixture) { check(t, fx.Resize(latestName, -1)) }, want: "bytes were signed, but the server offers "},
	{name: "empty archive", do: func(t *testing.T, fx *fixture) {
		fx.server.Handler.Misbehave(latestName, repotest.Answer(nil))
	}, want: "bytes were signed, but the server sent 0"},
	{name: "swapped archives", do: func(t *testing.T, fx *fixture) {
		check(t, fx.Swap("banger_v1.9.0_linux_amd64.tar.gz", latestName))
	}, want: "cannot trust " + latestName},
	{name: "shorter archive, no length", do: func(t *testing.T, fx *fixture) {
		fx.server.Handler.Misbehave(latestName, repotest.Answer(archiveOf("v1.10.0")[:100]))
	}, want: "bytes were signed, but the server sent 100"},
	{name: "endless archive", do: func(t *testing.T, fx *fixture) {
		fx.server.Handler.Misbehave(latestName, repotest.Endless(archiveOf("v1.10.0")))
	}, want: "bytes were signed, but the server sent more"},
	{name: "endless zeros", do: func(t *testing.T, fx *fixture) {
		fx.server.Handler.Misbehave(latestName, repotest.Endless(nil))
	}, want: "was signed: it was altered"},
	{name: "archive redirected to another host", do: func(t *testing.T, fx *fixture) {
		fx.server.Handler.Misbehave(latestName, repotest.Redirect("http://127.0.0.1:1"))
	}, want: "it redirects to another place, http://127.0.0.1:1"},
	{name: "archive stalls", do: func(t *testing.T, fx *fixture) {
		fx.slow(latestName, repotest.StallAfter(archiveOf("v1.10.0")[:100]))
	}, want: "the server sent next to nothing for 2s", kind: api.KindTimeout},
	{name: "archive stalls after its end", do: func(t *testing.T, fx *fixture) {
		fx.slow(latestName, repotest.StallAfter(archiveOf("v1.10.0")))
	}, want: "the server sent next to nothing for 2s", kind: api.KindTimeout},
	{name: "archive is missing", do: func(t *testing.T, fx *fixture) { check(t, os.Remove(fx.Archive(latestName))) },
		want: "the repository's metadata lists it, but the server does not have it", kind: api.KindNotFound},
}

var serverAttacks = []attack{
	{name: "redirect to another host", do: func(t *testing.T, fx *fixture) {
		other := repotest.Serve(fx.Dir)
		t.Cleanup(other.Close)
		fx.server.Handler.Misbehave("timestamp.json", repotest.Redirect(other.URL))
	}, want: "it redirects to another place"},
	{name: "redirect in a circle", do: func(t *testing.T, fx *fixture) {
		fx.server.Handler.Misbehave("timestamp.json", repotest.Redirect(fx.server.URL))
	}, want: "it redirects more than 3 times"},
	{name: "endless root", do: endless("2.root.json"), want: "metadata/2.root.json: it is longer than 524288 bytes"},
	{name: "endless timestamp", do: endless("timestamp.json"), want: "metadata/timestamp.json: it is longer than 16384 bytes"},
	{name: "endless snapshot", do: endless("2.snapshot.json"), want: "metadata/2.snapshot.json: it is longer than 2097152 bytes", learn: []string{"timestamp.json"}},
	{name: "endless targets", do: endless("2.targets.json"), want: "metadata/2.targets.json: it is longer than 5242880 bytes", learn: []string{"timestamp.json", "snapshot.json"}},
	{name: "stalls", do: func(t *testing.T, fx *fixture) {
		fx.slow("timestamp.json", repotest.Stall)
	}, want: "/metadata/timestamp.json: the server sent next to nothing for 2s", kind: api.KindTimeout},
	{name: "stalls in the middle", do: func(t *testing.T, fx *fixture) {
		fx.slow("timestamp.json", repotest.StallAfter([]byte("{")))
	}, want: "the server sent next to nothing for 2s", kind: api.KindTimeout},
	{name: "drips", do: func(t *testing.T, fx *fixture) {
		fx.slow("timestamp.json", repotest.Drip(20*time.Millisecond))
	}, want: "the server sent next to nothing for 2s", kind: api.KindTimeout},
	{name: "no network", do: func(_ *testing.T, fx *fixture) { fx.server.Close() }, want: "connection refused", kind: api.KindInternal},
	{name: "not a repository", do: func(t *testing.T, fx *fixture) {
		other := repotest.Serve(t.TempDir())
		t.Cleanup(other.Close)
		fx.move(t, other.URL)
	}, want: "there is no release repository", kind: api.KindNotFound},
	{name: "a web page", do: func(t *testing.T, fx *fixture) {
		fx.server.Handler.Misbehave("timestamp.json", repotest.Answer([]byte("<html>hello</html>")))
	}, want: "cannot read the repository's timestamp.json: it is not valid TUF metadata"},
	{name: "a failing server", do: func(t *testing.T, fx *fixture) {
		fx.server.Handler.Misbehave("timestamp.json", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	}, want: "the server answered 502 Bad Gateway", kind: api.KindInternal},
	{name: "endless headers", do: func(t *testing.T, fx *fixture) {
		fx.server.Handler.Misbehave("timestamp.json", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		})
	}, want: "server response headers exceeded", kind: api.KindInternal},
	{name: "from TLS to none", do: func(t *testing.T, fx *fixture) {
		secure := httptest.NewTLSServer(fx.server.Handler)
		t.Cleanup(secure.Close)
		fx.server.Handler.Misbehave("timestamp.json", repotest.Redirect("http://"+strings.TrimPrefix(secure.URL, "https://")))
		fx.move(t, secure.URL)
		roots := x509.NewCertPool()
		roots.AddCert(secure.Certificate())
		fx.host.client = fetch.New(fetch.Options{Roots: roots, Redirect: checkRedirect})
	}, want: "it redirects to another place, http://127.0.0.1"},
	{name: "a certificate that nobody vouches for", do: func(t *testing.T, fx *fixture) {
		secure := httptest.NewUnstartedServer(fx.server.Handler)
		secure.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshake fails, as it should
		secure.StartTLS()
		t.Cleanup(secure.Close)
		fx.move(t, secure.URL)
	}, want: "failed to verify certificate", kind: api.KindInternal},
}

// endless lets a file after what the host has seen go on for ever.
func endless(file string) func(*testing.T, *fixture) {
	return func(t *testing.T, fx *fixture) {
		fx.Bare = true
		fx.publish(t)
		fx.server.Handler.Misbehave(file, repotest.Endless([]byte("{")))
	}
}

// slow answers requests for a file as do does, to a host that waits two seconds.
func (fx *fixture) slow(file string, do http.HandlerFunc) {
	fx.host.client = fetch.New(fetch.Options{Stall: 2 * time.Second, Redirect: checkRedirect})
	fx.server.Handler.Misbehave(file, do)
}

// move lets the host ask elsewhere.
func (fx *fixture) move(t *testing.T, url string) {
	t.Helper()
	known := fx.host.targets
	fx.host = fx.open(t, url)
	fx.host.targets = known
}

func TestCancel(t *testing.T) {
	fx := newFixture(t)
	fx.server.Handler.Misbehave("timestamp.json", repotest.Stall)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := fx.host.Refresh(ctx); api.KindOf(err) != api.KindCanceled {
		t.Errorf("%v (%s)", err, api.KindOf(err))
	}
	if !slices.Contains(fx.host.Versions(), "v1.10.0") {
		t.Error("what was known is gone")
	}
}
