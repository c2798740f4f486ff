package remote

import (
	"fmt"
	"net/url"
)

// The variables that give git the user and the password of a URL.
const (
	userVariable     = "BANGER_GIT_USER"
	passwordVariable = "BANGER_GIT_PASSWORD"
)

// answer is a credential helper (gitcredentials(7)) that answers with these variables, and stores
// nothing.
const answer = `!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$` + userVariable + `" "$` + passwordVariable + `"; }; f`

// environ gives git the credentials that the user wrote into the URL. In the URL they would be in the
// clone's config, and in the arguments of git's programs, which every user of the host can read; the
// environment is for the same user alone (proc_pid_environ(5)).
func (r Remote) environ() []string {
	u, err := url.Parse(r.URL)
	if err != nil || r.user == "" && r.password == "" {
		return nil
	}
	scope := "credential." + u.Scheme + "://" + u.Host
	settings := [][2]string{{scope + ".username", r.user}}
	env := []string{}
	if r.password != "" {
		// The empty one removes the user's helpers: they would answer first, and store the password.
		settings = [][2]string{{scope + ".helper", ""}, {scope + ".helper", answer}}
		env = append(env, userVariable+"="+r.user, passwordVariable+"="+r.password)
	}
	env = append(env, fmt.Sprint("GIT_CONFIG_COUNT=", len(settings)))
	for i, s := range settings {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, s[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, s[1]))
	}
	return env
}
