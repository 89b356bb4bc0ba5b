package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/slotsync/slotsync/cache"
	"github.com/slotsync/slotsync/cmd/mini/world"
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

// redisRule is the README's rule for a user of Redis that may do what a worker does.
func redisRule(t *testing.T) []string {
	t.Helper()
	rule := regexp.MustCompile(`(?m)^ACL SETUSER (.*)$`).FindStringSubmatch(readme(t))
	if rule == nil {
		t.Fatal("the README has no rule for Redis")
	}
	return strings.Fields(rule[1])
}

func TestTheReadmeGrantsWhatTheScriptsCall(t *testing.T) {
	scripts, err := filepath.Glob("../../cache/lua/*.lua")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	rule := redisRule(t)
	for _, script := range scripts {
		source, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range regexp.MustCompile(`redis\.p?call\(\s*['"](\w+)['"]`).FindAllSubmatch(source, -1) {
			if command := "+" + strings.ToLower(string(call[1])); !slices.Contains(rule, command) {
				t.Errorf("%s calls for %s, which the README's rule does not give", script, command)
			}
		}
	}
}

// On a real Redis, since no other has its rights, a user with the README's rule does all that a worker does.
func TestTheReadmesRedisUserCanWork(t *testing.T) {
	address := fromStack(t, "SLOTSYNC_TEST_REDIS")
	admin, err := cache.Dial(cache.Config{URL: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() })
	at, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("slotsync-%d", os.Getpid())
	at.User = url.UserPassword(name, "PASSWORD")
	args := []any{"ACL", "SETUSER", name}
	for _, word := range redisRule(t)[1:] {
		args = append(args, word)
	}
	for _, do := range [][]any{args, {"SCRIPT", "FLUSH"}} { // a script has to be loaded, too
		if err := admin.Do(t.Context(), do...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := admin.Do(context.WithoutCancel(t.Context()), "ACL", "DELUSER", name).Err(); err != nil {
			t.Error(err)
		}
	})

	w := start(t, world.Options{Shifts: 300, Partitions: 3})
	settings := map[string]string{"REDIS_HOST": at.String(), "SYNC_NAME": name}
	for _, pass := range []struct {
		claim, partition string
		args             []string
	}{{claim: "the first pass"}, {claim: "changes"}, {"a new layout", "1", []string{"--accept-layout"}}} {
		settings["KAFKA_PARTITION"] = pass.partition
		if rep, code, log := once(t, w, settings, pass.args...); code != 0 || published(rep) == 0 {
			t.Errorf("%s: published %d, exit %d, want some, 0\n%s", pass.claim, published(rep), code, log)
		}
		w.API.Churn(3)
	}
	denied, err := admin.Do(t.Context(), "ACL", "LOG").Slice()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range denied { // other tests may have their own
		if text := fmt.Sprint(entry); strings.Contains(text, name) {
			t.Errorf("Redis refused %s", text)
		}
	}
}
