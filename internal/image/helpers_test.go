package image

import "banger/internal/image/imagetest"

var (
	archive      = imagetest.Archive
	busybox      = imagetest.Busybox
	dirEntry     = imagetest.Dir
	fileEntry    = imagetest.File
	linkEntry    = imagetest.Link
	symlinkEntry = imagetest.Symlink
	deviceEntry  = imagetest.Device
	ownedBy      = imagetest.Owned
	gzipped      = imagetest.Gzip
	zstded       = imagetest.Zstd
	layerOf      = imagetest.Layer
	imageOf      = imagetest.Image
)
