package project

// Documented is a key as the reference page shows it (docs/workspace-keys.md).
type Documented struct {
	Key, Doc string
	Example  string // a value, as in the file
	Reaches  bool   // the host: it has to be confirmed
}

// Document describes every key; those of tables are behind their table, as TABLE.KEY.
func Document() []Documented {
	var all []Documented
	for _, e := range keys() {
		all = append(all, Documented{e.name, e.doc, e.example, e.reaches})
		switch e.name {
		case "sync":
			all = append(all, documented("sync.", syncKeys())...)
		case "files":
			all = append(all, documented("files.", fileKeys())...)
		}
	}
	return all
}

func documented[T any](table string, entries []entry[T]) []Documented {
	var all []Documented
	for _, e := range entries {
		all = append(all, Documented{table + e.name, e.doc, e.example, e.reaches})
	}
	return all
}
