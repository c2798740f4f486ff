package rootfs

import (
	"banger/api"
	"banger/internal/image/imagetest"
)

var (
	archive      = imagetest.Archive
	dirEntry     = imagetest.Dir
	fileEntry    = imagetest.File
	linkEntry    = imagetest.Link
	symlinkEntry = imagetest.Symlink
	deviceEntry  = imagetest.Device
	ownedBy      = imagetest.Owned
	gzipped      = imagetest.Gzip
	bigFirst     = imagetest.BigFirst
	corpus       = imagetest.Corpus
)

func silent(api.Progress) {}
