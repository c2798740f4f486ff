// Package secret guesses which files of a workspace have secrets in them.
package secret

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Head is how much of the beginning of a file Guess should see, in bytes. Keys and tokens
// are in small files, or near the top.
const Head = 16 << 10

// Guess says why a file looks as if it had a secret in it, such as "a private key", or returns
// "". head is the beginning of its content; nil if it is not known. It guesses: a file without a
// known form of secret may have one, and a key may be one of a test.
func Guess(name string, head []byte) string {
	base := strings.ToLower(path.Base(name))
	if why := byName(base, path.Base(path.Dir(name)), head); why != "" {
		return why
	}
	for _, c := range forms {
		for _, found := range c.pattern.FindAll(head, maxFound) {
			if !placeholder(found) {
				return c.why
			}
		}
	}
	return ""
}

// maxFound is how many places of one file are looked at for one form of secret.
const maxFound = 20

// examples are endings of files that show which settings there are, without values.
var examples = []string{".example", ".sample", ".template", ".tmpl", ".tpl", ".dist", ".schema"}

// stores are endings of files that hold keys, in a form that does not show it.
var stores = []string{".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk"}

// environment files: .env, .envrc, .env.local, .env-production.
var envFile = regexp.MustCompile(`^\.env(rc|[._-].*)?$`)

// The private keys that ssh-keygen(1) makes, as it names them, or with a suffix.
var sshKey = regexp.MustCompile(`^id_(rsa|dsa|ecdsa|ed25519|xmss)(_sk)?([._-].*)?$`)

// passwords are files of programs that have a password or token in them, but need not.
var passwords = map[string]*regexp.Regexp{
	".npmrc":           regexp.MustCompile(`(?m)^[^#;\n]*_(authToken|auth|password)\s*=\s*\S+`),
	".yarnrc.yml":      regexp.MustCompile(`(?m)^\s*npmAuth(Token|Ident):\s*\S+`),
	".pypirc":          regexp.MustCompile(`(?m)^\s*password\s*[=:]\s*\S+`),
	".netrc":           regexp.MustCompile(`\bpassword\s+\S+`),
	"_netrc":           regexp.MustCompile(`\bpassword\s+\S+`),
	".pgpass":          regexp.MustCompile(`(?m)^[^#\n:]+(:[^:\n]*){3}:\S+`),
	".git-credentials": regexp.MustCompile(`://[^/\s]+:[^/\s]+@`),
	".dockercfg":       regexp.MustCompile(`"auth"\s*:\s*"[^"]+"`),
	"config.json":      regexp.MustCompile(`"auth"\s*:\s*"[A-Za-z0-9+/=]{8,}"`), // of Docker
	"credentials":      regexp.MustCompile(`(?m)^\s*aws_secret_access_key\s*=\s*\S+`),
	"kubeconfig":       regexp.MustCompile(`(?m)^\s*(client-key-data|token|password):\s*\S+`),
}

// byName looks at the name, and at the content for what such a name means.
func byName(base, dir string, head []byte) string {
	ends := func(suffix string) bool { return strings.HasSuffix(base, suffix) }
	switch {
	case slices.ContainsFunc(examples, ends), ends(".pub"):
		return ""
	case envFile.MatchString(base):
		return "a file of environment variables"
	case sshKey.MatchString(base) && (head == nil || !code(base)):
		return "a private key of ssh"
	case slices.ContainsFunc(stores, ends):
		return "a store of keys"
	case (ends(".pem") || ends(".key")) && !public(head):
		return "a private key"
	}
	if base == "config" && dir == ".kube" {
		base = "kubeconfig"
	}
	if pattern := passwords[base]; pattern != nil {
		if head == nil && strings.HasPrefix(base, ".") {
			return "a file of passwords"
		}
		for _, found := range pattern.FindAll(head, maxFound) {
			if !placeholder(found) {
				return "a password or token"
			}
		}
	}
	return ""
}

// code reports whether a name is that of a source file, such as id_rsa.go.
func code(base string) bool {
	return slices.Contains([]string{".go", ".c", ".h", ".py", ".rs", ".js", ".ts", ".java", ".rb", ".md", ".txt", ".html"}, path.Ext(base))
}

// public reports whether the content of a .pem or .key is known not to be a private key: a
// certificate, a public key, or no key at all, as the document of a presentation.
func public(head []byte) bool {
	if bytes.Contains(head, []byte("PRIVATE KEY")) || head == nil {
		return false
	}
	for _, known := range []string{"-----BEGIN CERTIFICATE", "-----BEGIN TRUSTED CERTIFICATE", "-----BEGIN PUBLIC KEY", "-----BEGIN RSA PUBLIC KEY", "-----BEGIN DH PARAMETERS", "ssh-", "ecdsa-", "PK\x03\x04"} {
		if bytes.Contains(head[:min(len(head), 4096)], []byte(known)) {
			return true
		}
	}
	return len(bytes.TrimSpace(head)) == 0
}

// forms are those of secrets that are recognised in any file. Each is as narrow as its issuer
// documents it.
var forms = []struct {
	why     string
	pattern *regexp.Regexp
}{
	// The line alone is in documentation and source: what follows it makes it a key.
	{"a private key", regexp.MustCompile(`-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----(\s|\\r|\\n|")+(Proc-Type|Version|Comment|[A-Za-z0-9+/]{32})`)},
	{"a private key of age", regexp.MustCompile(`\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b`)},
	{"a key of AWS", regexp.MustCompile(`\b(AKIA|ASIA)[A-Z2-7]{16}\b`)},
	{"a key of AWS", regexp.MustCompile(`(?i)aws_?secret_?(access_?)?key["']?\s*[=:]\s*["']?[A-Za-z0-9/+]{40}\b`)},
	{"a token of GitHub", regexp.MustCompile(`\bgh[pousr]_[A-Za-z0-9]{36,}\b`)},
	{"a token of GitHub", regexp.MustCompile(`\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b`)},
	{"a token of GitLab", regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{20,}`)},
	{"a token of Slack", regexp.MustCompile(`\bxox[abeoprs]-[0-9]+-[0-9A-Za-z-]{10,}`)},
	{"a webhook of Slack", regexp.MustCompile(`https://hooks\.slack\.com/services/T[A-Z0-9]{8,}/B[A-Z0-9]{8,}/[A-Za-z0-9]{20,}`)},
	{"a token of npm", regexp.MustCompile(`\bnpm_[A-Za-z0-9]{36}\b`)},
	{"a token of PyPI", regexp.MustCompile(`\bpypi-AgE[A-Za-z0-9_-]{50,}`)},
	{"a key of Google", regexp.MustCompile(`\bAIza[0-9A-Za-z_-]{35}\b`)},
	{"a key of Stripe", regexp.MustCompile(`\b[rs]k_live_[0-9A-Za-z]{20,}\b`)},
	{"a key of Anthropic", regexp.MustCompile(`\bsk-ant-[A-Za-z0-9]+-[A-Za-z0-9_-]{40,}`)},
	{"a key of OpenAI", regexp.MustCompile(`\bsk-(proj-[A-Za-z0-9_-]{40,}|[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20})`)},
}

// placeholder reports whether what was found stands for a secret that is elsewhere: a variable,
// an example of a vendor's documentation, or one letter again and again.
func placeholder(found []byte) bool {
	text := string(found)
	value := text[strings.LastIndexAny(text, " \t=:-_")+1:]
	value = strings.Trim(value, `"'`)
	switch {
	case strings.Contains(text, "${"), strings.HasPrefix(value, "$"), strings.HasPrefix(value, "<"), strings.HasPrefix(value, "%"):
		return true
	case strings.Contains(strings.ToUpper(value), "EXAMPLE"):
		return true
	}
	return len(value) > 3 && strings.Trim(strings.ToLower(value), strings.ToLower(value[:1])) == ""
}
