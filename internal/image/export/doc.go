// Package export writes the file systems of images as archives that other programs read,
// always the same for the same image.
package export
