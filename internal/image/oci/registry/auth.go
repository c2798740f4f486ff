package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"banger/api"
	"banger/internal/host/execx"
)

// login is the credentials for a registry.
type login struct {
	auth authn.Authenticator
	// missed lists helpers that could not be asked for a password. This is not an error
	// if no password is needed, but is reported if one is.
	missed []string
	looked []string // the existing files
	own    string   // of Options
}

// authFile is a file of passwords: Docker's config.json, or Podman's auth.json
// (https://github.com/docker/cli/blob/master/cli/config/configfile/file.go,
// containers-auth.json(5)).
type authFile struct {
	Auths map[string]struct {
		Auth          string `json:"auth"`
		Username      string `json:"username"`
		Password      string `json:"password"`
		IdentityToken string `json:"identitytoken"`
		RegistryToken string `json:"registrytoken"`
	} `json:"auths"`
	CredHelpers map[string]string `json:"credHelpers"`
	CredsStore  string            `json:"credsStore"`
}

// authFiles returns the paths of password files, Docker's first: the first file that
// has a password counts. own is a file to use in place of the one that the environment names.
func authFiles(own string) []string {
	home, _ := os.UserHomeDir()
	var files []string
	add := func(dir string, elem ...string) {
		if dir != "" {
			files = append(files, filepath.Join(append([]string{dir}, elem...)...))
		}
	}
	under := func(dir, name string) string {
		if dir == "" {
			return ""
		}
		return filepath.Join(dir, name)
	}
	add(cmp.Or(os.Getenv("DOCKER_CONFIG"), under(home, ".docker")), "config.json")
	add(cmp.Or(own, os.Getenv("REGISTRY_AUTH_FILE")))
	add(os.Getenv("XDG_RUNTIME_DIR"), "containers/auth.json")
	add(cmp.Or(os.Getenv("XDG_CONFIG_HOME"), under(home, ".config")), "containers/auth.json")
	return files
}

// credentials finds the credentials for the registry of a reference.
func credentials(ctx context.Context, ref Reference, own string) (login, error) {
	l := login{auth: authn.Anonymous, own: own}
	for _, file := range authFiles(own) {
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) || err == nil && len(bytes.TrimSpace(data)) == 0 {
			continue
		}
		var f authFile
		if err == nil {
			err = json.Unmarshal(data, &f)
		}
		if err != nil {
			return l, api.Errorf(api.KindDenied, "cannot get the credentials for %s from Docker's configuration: %s: %w", ref.Registry(), file, err).
				WithHint("docker login %s", ref.Registry())
		}
		l.looked = append(l.looked, file)
		found, err := f.find(ctx, ref, func(helper string, err error) {
			l.missed = append(l.missed, fmt.Sprintf("%s names the helper %s, which failed: %v", file, helper, err))
		})
		if found != nil || err != nil {
			l.auth = cmp.Or(found, l.auth)
			return l, err
		}
	}
	return l, nil
}

// find looks up a reference: of the entries whose path contains it, the longest counts.
// It calls missed with helpers that cannot be asked.
func (f authFile) find(ctx context.Context, ref Reference, missed func(helper string, err error)) (authn.Authenticator, error) {
	host := ref.Registry()
	auths := map[string]string{} // plain key → key as written
	for key := range f.Auths {
		if plain := plainKey(key); auths[plain] == "" || key == plain {
			auths[plain] = key
		}
	}
	helpers := map[string]string{}
	for key, helper := range f.CredHelpers {
		helpers[plainKey(key)] = helper
	}
	for at := host + "/" + ref.ref.Context().RepositoryStr(); at != "."; at = path.Dir(at) {
		helper := helpers[at]
		if at == host {
			helper = cmp.Or(helper, f.CredsStore)
		}
		if helper != "" {
			found, err := ask(ctx, helper, cmp.Or(auths[at], serverName(at)))
			if err != nil && ctx.Err() != nil {
				return nil, canceled(ctx)
			}
			if err != nil {
				missed("docker-credential-"+helper, err)
			}
			if found != nil {
				return found, nil
			}
		}
		if key, ok := auths[at]; ok {
			if found, err := f.entry(key); found != nil || err != nil {
				return found, err
			}
		}
		if at == host {
			break
		}
	}
	return nil, nil
}

// plainKey normalizes a key of a file: some have a scheme, and the path of an API.
func plainKey(key string) string {
	_, rest, scheme := strings.Cut(key, "://")
	if !scheme {
		rest = key
	}
	host, repository, _ := strings.Cut(rest, "/")
	if repository == "v1/" || repository == "v2/" || repository == "v1" || repository == "v2" {
		repository = ""
	}
	host = strings.ToLower(host)
	if host == "index.docker.io" || host == "registry-1.docker.io" {
		host = defaultRegistry
	}
	return strings.TrimSuffix(host+"/"+strings.TrimSuffix(repository, "/"), "/")
}

// serverName is the name that a helper is asked for: Docker Hub has a special one.
func serverName(host string) string {
	if host == defaultRegistry {
		return authn.DefaultAuthKey
	}
	return host
}

// entry parses an entry of a file; nil if it is empty, as `docker login` leaves it if a
// helper stores the password.
func (f authFile) entry(key string) (authn.Authenticator, error) {
	e := f.Auths[key]
	c := authn.AuthConfig{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
	if e.Auth != "" {
		decoded, err := base64.StdEncoding.DecodeString(e.Auth)
		user, password, ok := strings.Cut(strings.TrimRight(string(decoded), "\x00"), ":")
		if err != nil || !ok {
			return nil, api.Errorf(api.KindDenied, "cannot get the credentials for %s from Docker's configuration: its entry %q is damaged", plainKey(key), key).
				WithHint("docker login %s", plainKey(key))
		}
		c.Username, c.Password = user, password
	}
	if c == (authn.AuthConfig{}) {
		return nil, nil
	}
	return authn.FromConfig(c), nil
}

var helperName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// notFound is the message of helpers that have no password; some print more before it
// (https://github.com/docker/docker-credential-helpers/blob/master/credentials/error.go).
const notFound = "credentials not found"

// ask asks a helper for credentials; nil if it has none.
func ask(ctx context.Context, helper, server string) (authn.Authenticator, error) {
	if !helperName.MatchString(helper) {
		return nil, errors.New("it is not a valid name of a program")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, helperTime, fmt.Errorf("no answer within %s", helperTime))
	defer cancel()
	var out bytes.Buffer
	err := execx.Run(ctx, execx.Cmd{Name: "docker-credential-" + helper, Args: []string{"get"}, Stdin: strings.NewReader(server), Stdout: &out})
	if err != nil && strings.Contains(out.String()+err.Error(), notFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		return nil, fmt.Errorf("its answer cannot be read: %w", err)
	}
	switch {
	case answer.Secret == "":
		return nil, nil
	case answer.Username == "<token>":
		return authn.FromConfig(authn.AuthConfig{IdentityToken: answer.Secret}), nil
	}
	return authn.FromConfig(authn.AuthConfig{Username: answer.Username, Password: answer.Secret}), nil
}
