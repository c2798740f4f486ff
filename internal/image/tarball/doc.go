// Package tarball reads the archives that root file systems arrive in, which are not
// trusted: it recognizes compressions and other formats, decompresses within limits, and
// says what is wrong with an archive.
package tarball
