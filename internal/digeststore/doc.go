// Package digeststore stores objects of one kind, such as images, each in a directory
// named by the digest of its content, and names that point at them.
package digeststore
