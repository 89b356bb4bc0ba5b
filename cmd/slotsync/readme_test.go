package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheReadmeKnowsEverySettingAndNoOther(t *testing.T) {
	_, settings, _ := strings.Cut(readme(t), "\n## Settings\n")
	settings, _, _ = strings.Cut(settings, "\n## ")
	told := map[string]bool{}
	for _, name := range regexp.MustCompile("`([A-Z_]{4,})`").FindAllStringSubmatch(settings, -1) {
		told[name[1]] = true
	}
	var cfg config
	parser, err := kong.New(&cfg, (&loader{}).mappers()...)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"_FILE": true}
	for _, flag := range parser.Model.Flags {
		for _, name := range variables(flag.Value) {
			known[name] = true
			if !told[name] {
				t.Errorf("%s is not in the README", name)
			}
		}
	}
	if len(known) < 20 {
		t.Errorf("only %d variables were compared", len(known))
	}
	for name := range told {
		if !known[name] {
			t.Errorf("the README has %s, the program has not", name)
		}
	}
}

func TestTheReadmeHasTheTableOfMetrics(t *testing.T) {
	var table strings.Builder
	for _, m := range metricList() {
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s |\n", m.Name, m.Type, m.Unit, m.Tags, m.Meaning)
	}
	if !strings.Contains(readme(t), table.String()) {
		t.Errorf("the README's table of metrics should read\n%s", table.String())
	}
}
