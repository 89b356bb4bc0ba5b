package cache_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// scripts are the steps' texts by name, and commandOf finds what they call.
func scripts(t *testing.T) (texts map[string]string, commandOf *regexp.Regexp) {
	t.Helper()
	texts = map[string]string{}
	files, err := filepath.Glob("lua/*.lua")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d scripts, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[strings.TrimSuffix(filepath.Base(file), ".lua")] = string(text)
	}
	return texts, regexp.MustCompile(`redis\.call\('([A-Z]+)'`)
}

// A server that is short of memory refuses the first command that needs some, and none after one that gives some back.
// What has to go on then begins with a deletion: only new intents need room, and what is seen again.
func TestWhatAStepWritesBeginsWithADeletion(t *testing.T) {
	texts, commandOf := scripts(t)
	for name, text := range texts {
		var writes []string
		for _, call := range commandOf.FindAllStringSubmatch(text, -1) {
			if slices.Contains([]string{"HSET", "SET", "HDEL", "DEL", "UNLINK"}, call[1]) {
				writes = append(writes, call[1])
			}
		}
		if name == "intend" || name == "refresh" || len(writes) == 0 {
			continue
		}
		if writes[0] == "HSET" || writes[0] == "SET" {
			t.Errorf("%s writes %v", name, writes)
		}
	}
}

func TestTheRightsThatAreLookedForAreThoseOfTheSteps(t *testing.T) {
	texts, commandOf := scripts(t)
	needed := map[string]bool{"EVALSHA": true} // with which scripts are called
	for _, text := range texts {
		for _, call := range commandOf.FindAllStringSubmatch(text, -1) {
			needed[call[1]] = true
		}
	}
	for command := range needed {
		if !strings.Contains(texts["rights"], "{'"+command+"'") {
			t.Errorf("%s is called and not looked for", command)
		}
	}
}
