package guest

// MaxConnecting is maxConnecting for tests.
const MaxConnecting = maxConnecting

// Opening is how many channels are being opened.
func (l *Link) Opening() int { return len(l.opening) }

var PlainFrozen = plainFrozen
