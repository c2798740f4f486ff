package journal

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestTheTableIsDocumented compares docs/update-threats.md with the table.
func TestTheTableIsDocumented(t *testing.T) {
	data, err := os.ReadFile("../../../docs/update-threats.md")
	if err != nil {
		t.Fatal(err)
	}
	want := "| state | what is done |\n|---|---|\n"
	for _, r := range Table {
		want += fmt.Sprintf("| `%s` | %s |\n", r.State, r.Does)
	}
	if !strings.Contains(string(data), "\n"+want+"\n") {
		t.Errorf("docs/update-threats.md does not have this table:\n%s", want)
	}
}
