package gitrepo

import "banger/internal/workspace/secret"

// SecretHead is how much of the beginning of a file Secret should see, in bytes.
const SecretHead = secret.Head

// Secret says why a file that ships looks as if it had a secret in it, or returns "". head is the
// beginning of its content; nil if it is not known.
func Secret(path string, head []byte) string { return secret.Guess(path, head) }
