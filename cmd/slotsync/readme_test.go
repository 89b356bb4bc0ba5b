package main

import (
	"context"
	"fmt"
	"maps"
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
		var tags []string
		for _, t := range m.Tags {
			tags = append(tags, t.String())
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s |\n", m.Name, m.Type, m.Unit, strings.Join(tags, "; "), m.Meaning)
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

// called returns the commands of Redis that a worker calls: those of the scripts, and those of the code that are read
// off the client's methods. What only a check calls is in a file of its own.
func called(t *testing.T) (byScripts, byCode map[string]bool) {
	t.Helper()
	read := func(pattern string, call *regexp.Regexp, but string) map[string]bool {
		commands := map[string]bool{}
		files, err := filepath.Glob("../../cache/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(file, "_test.go") || filepath.Base(file) == but {
				continue
			}
			for _, found := range call.FindAllSubmatch(source, -1) {
				commands[strings.ToLower(string(found[1]))] = true
			}
		}
		if len(commands) < 4 {
			t.Fatalf("only %v was found in %d files", commands, len(files))
		}
		return commands
	}
	return read("lua/*.lua", regexp.MustCompile(`redis\.p?call\(\s*['"](\w+)['"]`), ""),
		read("*.go", regexp.MustCompile(`\b(?:client|trip|one)\.([A-Z]\w*)\(ctx, `), "inspect.go")
}

func TestTheReadmeGrantsRedisWhatIsCalledAndNothingElse(t *testing.T) {
	byScripts, commands := called(t)
	maps.Copy(commands, byScripts)
	delete(commands, "process") // queues another one
	maps.Copy(commands, map[string]bool{"eval": true, "evalsha": true})
	var granted []string
	for _, word := range redisRule(t) {
		if command, is := strings.CutPrefix(word, "+"); is {
			granted = append(granted, command)
		}
	}
	slices.Sort(granted)
	if want := slices.Sorted(maps.Keys(commands)); !slices.Equal(granted, want) {
		t.Errorf("the rule grants\n%v, and what is called is\n%v", granted, want)
	}
}

func TestACheckAsksForTheRightsThatTheScriptsNeed(t *testing.T) {
	source, err := os.ReadFile("../../cache/lua/rights.lua")
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{}
	for _, call := range regexp.MustCompile(`\{'([A-Z]+)'`).FindAllSubmatch(source, -1) {
		asked[strings.ToLower(string(call[1]))] = true
	}
	commands, _ := called(t)
	commands["evalsha"] = true // it is asked for by EVAL
	if !maps.Equal(asked, commands) {
		t.Errorf("got %v\nwant %v", slices.Sorted(maps.Keys(asked)), slices.Sorted(maps.Keys(commands)))
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

// A new clone has no bin, and a shell opens the file that it writes to before it runs anything.
func TestTheReadmeMakesBinBeforeItWritesThere(t *testing.T) {
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(readme(t), -1)
	writing := 0
	for _, block := range blocks {
		before, _, writes := strings.Cut(block[1], "> bin/")
		if !writes {
			continue
		}
		writing++
		if !strings.HasPrefix(before, "make build\n") {
			t.Errorf("these commands do not begin with make build\n%s", block[1])
		}
	}
	if writing == 0 {
		t.Errorf("none of %d blocks writes to bin", len(blocks))
	}
}

func TestTheReadmeKnowsWhatTheServersSayWhenTheyAreUp(t *testing.T) {
	source, err := os.ReadFile("../mini/demo.go")
	if err != nil {
		t.Fatal(err)
	}
	if said := "bin/slotsync works here"; !strings.Contains(string(source), said) || !strings.Contains(readme(t), "`"+said+"`") {
		t.Errorf("the README and what is printed do not both have %q", said)
	}
}

// A worker needs the cluster's id and an epoch before it may collect anything.
func TestTheDocsWarnOfARestartWhileKafkaIsAway(t *testing.T) {
	operations, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, row, _ := strings.Cut(string(operations), "| `kafka` |")
	row, _, _ = strings.Cut(row, "\n")
	_, promise, _ := strings.Cut(readme(t), "- While Kafka is away")
	promise, _, _ = strings.Cut(promise, "\n- ")
	for name, text := range map[string]string{"docs/operations.md": row, "the README": promise} {
		if !strings.Contains(text, "collects nothing until") || !strings.Contains(text, "do not restart") {
			t.Errorf("%s does not say so: %q", name, text)
		}
	}
}
