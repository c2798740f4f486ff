package proc

import (
	"os"
	"strconv"
)

// Mentioned reads the command lines of all users' processes once, and returns the words of
// length letters in them; letter reports whether a byte is a letter. It replaces a scan of
// all processes for each of many words.
func Mentioned(length int, letter func(byte) bool) (map[string]bool, error) {
	return host.mentioned(length, letter)
}

func (t Table) mentioned(length int, letter func(byte) bool) (map[string]bool, error) {
	dir, err := os.Open(t.Root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	words := map[string]bool{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid <= 0 {
			continue
		}
		line, err := t.Read(pid, "cmdline")
		if err != nil {
			continue // the process has just ended
		}
		addWords(words, line, length, letter)
	}
	return words, nil
}

// addWords adds the words of that length in text.
func addWords(words map[string]bool, text []byte, length int, letter func(byte) bool) {
	begin := 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) && letter(text[i]) {
			continue
		}
		if i-begin == length {
			words[string(text[begin:i])] = true
		}
		begin = i + 1
	}
}
