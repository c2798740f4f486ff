package secret

import (
	"strings"
	"testing"
)

// The parts of tokens, so that no scanner takes this file for one that has them.
const (
	begin = "-----BEGIN "
	key   = "PRIVATE KEY-----"
	body  = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"
	hex36 = "Zx8Qw3Er5Ty7Ui9Op1As3Df5Gh7Jk9Lz1Xc3"
)

func TestGuess(t *testing.T) {
	for _, c := range []struct {
		path, head string
		secret     bool
	}{
		{".env", "A=1", true}, {"app/.env.local", "", true}, {".env.production", "", true}, {".envrc", "", true}, {".ENV", "", true},
		{".env.example", "A=1", false}, {".env.sample", "", false}, {"x/.env.template", "", false}, {".env.dist", "", false},
		{".environment-notes.md", "", false}, {"env", "", false}, {"docs/dotenv.md", "Copy .env.example", false},

		{"id_rsa", "", true}, {".ssh/id_ed25519", "", true}, {"id_ed25519_sk", "", true}, {"id_rsa.old", "", true},
		{"id_rsa.pub", "ssh-rsa AAAA", false}, {"id_generator.go", "package x", false}, {"id_rsa.go", "package x", false}, {"id_map", "", false},

		{"server.pem", begin + "RSA " + key + "\n" + body, true}, {"server.key", begin + key + "\n" + body, true},
		{"ca.pem", begin + "CERTIFICATE-----\nMIID", false}, {"public.pem", begin + "PUBLIC KEY-----\nMIIB", false},
		{"both.pem", begin + "CERTIFICATE-----\nMIID\n" + begin + key + "\n" + body, true},
		{"public.key", begin + "PUBLIC KEY-----\nMIIB", false}, {"talk.key", "PK\x03\x04", false}, {"empty.key", "", false},
		{"raw.key", "\x12\x34\x56", true}, {"store.p12", "", true}, {"x.kdbx", "", true}, {"release.keystore", "", true},

		{".npmrc", "//registry.example.org/:_authToken=" + hex36, true}, {".npmrc", "registry=https://registry.example.org/", false},
		{".npmrc", "//registry.example.org/:_authToken=${NPM_TOKEN}", false}, {".npmrc", "; _authToken=abcdef", false},
		{".pypirc", "[pypi]\nusername = u\npassword = hunter22", true}, {".pypirc", "[pypi]\nrepository = https://x", false},
		{".netrc", "machine x login u password hunter22", true}, {".netrc", "machine x", false},
		{".git-credentials", "https://u:hunter22@example.org", true},
		{".aws/credentials", "[default]\naws_secret_access_key = wJalrXUtnFEMIK7MDENGbPxRfiCYzzzzzzzz1234", true},
		{".docker/config.json", `{"auths":{"x":{"auth":"dXNlcjpwYXNz"}}}`, true}, {"config.json", `{"auth":"none"}`, false},
		{".kube/config", "users:\n- user:\n    token: abcdefghij", true}, {"git/config", "token: x", false},

		{"x.go", `const k = "` + "AKIA" + `QWERTYUIOPASDFGH"`, true}, {"x.go", "AKIAIOSFODNN7EXAMPLE", false},
		{"x.tf", `aws_secret_access_key = "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"`, true},
		{"x.tf", `aws_secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"`, false},
		{"x.yml", "token: ghp_" + hex36, true}, {"x.yml", "token: ghp_" + strings.Repeat("x", 36), false}, {"x.yml", "token: ghp_short", false},
		{"x.py", "github_pat_" + hex36[:22] + "_" + hex36 + hex36[:23], true},
		{"x.sh", "xoxb-123456789012-" + hex36, true}, {"x.sh", "xoxb-your-token-here", false},
		{"x.sh", "https://hooks.slack.com/services/T12345678/B12345678/" + hex36[:24], true},
		{"x.json", `{"private_key": "` + begin + key + `\n` + strings.TrimSpace(body) + `"}`, true},
		{"key.txt", begin + "OPENSSH " + key + "\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ", true},
		{"key.asc", begin + "PGP PRIVATE KEY BLOCK-----\n\nlQVYBGSample0123456789abcdefghijklmnopqr", true},
		{"pgp.txt", begin + "PGP PUBLIC KEY BLOCK-----\n\nmQINBF0123456789abcdefghijklmnopqrstuv", false},
		{"doc.md", "A key begins with `" + begin + key + "`.", false}, {"pem.go", `strings.Contains(s, "` + begin + key + `")`, false},
		{"main.go", "package main", false}, {"image.png", "\x89PNG\r\n", false},
	} {
		why := Guess(c.path, []byte(c.head))
		if (why != "") != c.secret {
			t.Errorf("%s with %.60q: %q", c.path, c.head, why)
		}
	}
	// Without its content, a name is enough.
	for _, name := range []string{"x.pem", "x.key", ".npmrc", "id_rsa"} {
		if Guess(name, nil) == "" {
			t.Errorf("%s is not thought to be secret", name)
		}
	}
}
