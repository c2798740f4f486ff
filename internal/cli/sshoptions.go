package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"banger/api"
	"banger/internal/paths"
)

// sshDomain is the end of the names by which ssh knows VMs.
const sshDomain = ".banger"

// sshOption is an option of ssh_config(5).
type sshOption struct{ name, value string }

// sshOptions are how ssh reaches a VM. Nothing is trusted on first use: the key of
// the VM is asked of banger for every connection, by a command rather than a file,
// which would have to follow each VM that is made, renamed and deleted. Known hosts
// of the user's own do not count for these names. self is how to run banger.
func sshOptions(self string) []sshOption {
	return []sshOption{
		{"ProxyCommand", self + " vm ssh-proxy %h"},
		{"KnownHostsCommand", self + " vm ssh-host-key %H"},
		{"UserKnownHostsFile", "none"},
		{"GlobalKnownHostsFile", "none"},
		{"StrictHostKeyChecking", "yes"},
		{"HostKeyAlgorithms", "ssh-ed25519"},
		{"UpdateHostKeys", "no"},
		{"CheckHostIP", "no"},
		{"CanonicalizeHostname", "no"},
	}
}

// vmOfHost is the VM that ssh means: it adds brackets and a port where that is not
// 22, for known_hosts (sshd(8)).
func vmOfHost(host string) string {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host, _, _ = strings.Cut(inner, "]")
	}
	return strings.TrimSuffix(host, sshDomain)
}

// findSSH finds the user's own ssh.
func findSSH() (string, error) {
	path, err := exec.LookPath("ssh")
	if err != nil {
		return "", api.Errorf(api.KindUnsupported, "ssh is not installed").
			WithHint("sudo apt-get install openssh-client\nbanger vm shell NAME   needs no ssh")
	}
	return path, nil
}

// selfPath is a path of this program that the next version will have too: the one
// on PATH, where that is this one.
func selfPath() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", api.Errorf(api.KindInternal, "cannot find this program: %w", err)
	}
	onPath, err := exec.LookPath("banger")
	if err != nil || !sameFile(onPath, self) {
		return self, nil
	}
	return filepath.Abs(onPath)
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// sshSelf is how ssh runs banger: by the shell and by its own rules, which have
// quotes in common. Where ssh need not have our environment, home says which banger
// is meant.
func sshSelf(home string) (string, error) {
	self, err := selfPath()
	if err != nil {
		return "", err
	}
	words := []string{self}
	if home != "" {
		env, err := exec.LookPath("env") // KnownHostsCommand has to be an absolute path
		if err != nil {
			return "", api.Errorf(api.KindUnsupported, "cannot find env(1): %w", err)
		}
		words = []string{env, "BANGER_HOME=" + home, self}
	}
	for i, word := range words {
		if strings.ContainsAny(word, "\n\x00") {
			return "", api.Errorf(api.KindInvalid, "cannot tell ssh of %q: its configuration has no line breaks in names", word)
		}
		words[i] = sshQuote(word)
	}
	return strings.Join(words, " "), nil
}

// sshQuote quotes a word for the shell; % is doubled, as ssh_config(5) has tokens.
func sshQuote(word string) string {
	word = strings.ReplaceAll(word, "%", "%%")
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-=+:@%"
	if strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// pinnedHome is BANGER_HOME as a configuration has to name it; empty where it is
// not set.
func pinnedHome(p paths.Paths) string {
	if os.Getenv("BANGER_HOME") == "" || p.Managed {
		return ""
	}
	return p.Config
}
