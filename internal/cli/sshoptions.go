package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"banger/api"
	"banger/internal/paths"
)

// sshDomain is the suffix of VM names in ssh's configuration. In system mode sshResolved is another,
// which people have from the address of a VM.
const (
	sshDomain   = ".banger"
	sshResolved = ".vm"
)

// sshOption is an option of ssh_config(5).
type sshOption struct{ name, value string }

// sshOptions returns the options with which ssh connects to a VM. Nothing is trusted on
// first use: ssh gets the VM's key from banger for every connection, through a command
// rather than a file, which would have to follow each VM that is created, renamed and
// deleted. The user's own known hosts are ignored for these names. self is the command
// that runs banger.
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

// vmOfHost returns the name of the VM that ssh means. ssh adds brackets and a port if the
// port is not 22, for known_hosts (sshd(8)).
func vmOfHost(host string) string {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host, _, _ = strings.Cut(inner, "]")
	}
	if name, ok := strings.CutSuffix(host, sshResolved); ok {
		return name
	}
	return strings.TrimSuffix(host, sshDomain)
}

// findSSH returns the path of the user's ssh.
func findSSH() (string, error) {
	path, err := exec.LookPath("ssh")
	if err != nil {
		return "", api.Errorf(api.KindUnsupported, "ssh is not installed").
			WithHint("sudo apt-get install openssh-client\nbanger vm shell NAME   does not need ssh")
	}
	return path, nil
}

// selfPath returns a path of this program that the next version will have too: the one on
// PATH, if that is this program.
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

// sshSelf returns the command with which ssh runs banger, quoted for the shell and for
// ssh's own rules, which share the same quotes. ssh may run without this environment, so
// a home that is not empty is set in the command.
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
			return "", api.Errorf(api.KindInvalid, "cannot use %q in ssh's configuration: it contains a line break", word)
		}
		words[i] = sshQuote(word)
	}
	return strings.Join(words, " "), nil
}

// sshQuote quotes a word for the shell and doubles %, which begins a token of
// ssh_config(5).
func sshQuote(word string) string {
	word = strings.ReplaceAll(word, "%", "%%")
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-=+:@%"
	if strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// pinnedHome returns BANGER_HOME as a configuration has to name it, or "" if it is not
// set.
func pinnedHome(p paths.Paths) string {
	if os.Getenv("BANGER_HOME") == "" || p.Managed {
		return ""
	}
	return p.Config
}
