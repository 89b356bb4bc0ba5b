package cache_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// A server that is short of memory refuses the first command that needs some, and none after one that gives some back.
// What has to go on then begins with a deletion: only new intents need room, and what is seen again.
func TestWhatAStepWritesBeginsWithADeletion(t *testing.T) {
	writes := regexp.MustCompile(`redis\.call\('(HSET|SET|HDEL|DEL|UNLINK)'`)
	files, err := filepath.Glob("lua/*.lua")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first := writes.FindSubmatch(text)
		if first == nil || file == filepath.Join("lua", "intend.lua") || file == filepath.Join("lua", "refresh.lua") {
			continue
		}
		if found++; slices.Contains([]string{"HSET", "SET"}, string(first[1])) {
			t.Errorf("%s begins with %s", file, first[1])
		}
	}
	if found < 10 {
		t.Errorf("found %d scripts that write", found)
	}
}
