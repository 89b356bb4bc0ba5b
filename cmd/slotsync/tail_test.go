package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// shown parses what tail printed.
func shown(t *testing.T, out string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(out) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		all = append(all, one)
	}
	return all
}

func TestTailShowsTheTopic(t *testing.T) {
	w := start(t, world.Options{Shifts: 30, Partitions: 3})
	if _, code, log := once(t, w, nil); code != 0 {
		t.Fatal(log)
	}
	foreign(t, w, &kgo.Record{Key: consume(t, w)[0].Key, Headers: []kgo.RecordHeader{{Key: "b", Value: []byte{0xff, 1}}}},
		&kgo.Record{Key: []byte("k"), Value: []byte("not ours")})
	want := consumeAll(t, w)
	out, log, code := call(t, w, nil, "tail", "--no-follow")
	if code != 0 {
		t.Fatalf("got exit %d\n%s", code, log)
	}
	got := shown(t, out)
	if len(got) != want {
		t.Fatalf("got %d lines, want %d", len(got), want)
	}
	var tombstones, errors int
	for _, line := range got {
		value, there := line["value"]
		switch {
		case line["error"] != nil:
			errors++
			if there || line["key_bytes"] != 1.0 || line["value_bytes"] != 8.0 || strings.Contains(fmt.Sprint(line["error"]), "ours") {
				t.Errorf("got %v", line)
			}
		case value == nil:
			tombstones++
			if !there || fmt.Sprint(line["headers"]) != "map[b:0xff01]" {
				t.Errorf("got %v", line)
			}
		default:
			v := value.(map[string]any)
			if v["id"] != line["key"].(map[string]any)["id"] || v["start_time"] == "" || v["linked_users"] != nil || line["value_schema"] == nil || line["key_schema"] == nil {
				t.Errorf("got %v", line)
			}
			if h := line["headers"].(map[string]any); len(h["slotsync-hash"].(string)) != 32 {
				t.Errorf("got headers %v", h)
			}
			if at, err := time.Parse(time.RFC3339, line["time"].(string)); err != nil || time.Since(at) > time.Minute {
				t.Errorf("got time %v, %v", line["time"], err)
			}
		}
	}
	if tombstones != 1 || errors != 1 {
		t.Errorf("got %d tombstones and %d errors", tombstones, errors)
	}

	id := slices.Sorted(maps.Keys(truth(w)))[0]
	out, _, code = call(t, w, nil, "tail", "--from=beginning", "--no-follow", fmt.Sprint("--id=", id))
	if lines := shown(t, out); code != 0 || len(lines) == 0 || lines[0]["key"].(map[string]any)["id"] != float64(id) {
		t.Errorf("of shift %d: exit %d, got\n%s", id, code, out)
	}
	for _, c := range []struct {
		claim string
		args  []string
		want  int
	}{
		{"a number of lines", []string{"--from=1h", "-n", "4"}, 4},
		{"more lines than there are", []string{"--no-follow", "-n", "4000"}, want},
		{"from the end", []string{"--no-follow", "--from=end"}, 0},
		{"from an hour to come", []string{"--no-follow", "--from=" + time.Now().Add(time.Hour).Format(time.RFC3339)}, 0},
		{"no record of such a shift", []string{"--no-follow", "--id=4"}, 0},
	} {
		out, log, code := call(t, w, nil, append([]string{"tail"}, c.args...)...)
		if got := strings.Count(out, "\n"); got != c.want || code != 0 {
			t.Errorf("%s: got %d lines, exit %d, want %d, 0\n%s", c.claim, got, code, c.want, log)
		}
	}
}

// foreign writes records that are not ours.
func foreign(t *testing.T, w *world.World, records ...*kgo.Record) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.Kafka.Addrs...), kgo.DefaultProduceTopic(world.Topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func consumeAll(t *testing.T, w *world.World) (n int) {
	t.Helper()
	for p := range 3 {
		n += int(w.Kafka.PartitionInfo(world.Topic, int32(p)).HighWatermark)
	}
	return n
}

func TestTailFollowsUntilItIsStopped(t *testing.T) {
	w := start(t, world.Options{Shifts: 5, Partitions: 2})
	env := w.Env()
	ctx, stop := context.WithCancel(t.Context())
	r, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"tail", "--from=beginning"}, func(name string) string { return env[name] }, out, io.Discard)
		out.Close()
		ended <- err
	}()
	if _, code, log := once(t, w, nil); code != 0 {
		t.Fatal(log)
	}
	lines := bufio.NewScanner(r)
	for i := range 3 {
		if !lines.Scan() {
			t.Fatalf("%d lines came", i)
		}
	}
	stop()
	_, _ = io.Copy(io.Discard, r)
	if err := <-ended; err != nil {
		t.Errorf("got %v", err)
	}
}

func TestTailEndsWithItsReader(t *testing.T) {
	w := start(t, world.Options{Shifts: 5, Partitions: 2})
	if _, code, log := once(t, w, nil); code != 0 {
		t.Fatal(log)
	}
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer out.Close()
	env := w.Env()
	if err := run(t.Context(), []string{"tail", "--from=beginning"}, func(name string) string { return env[name] }, out, io.Discard); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestTailSaysWhatIsWrong(t *testing.T) {
	w := start(t, world.Options{Partitions: 1})
	for _, c := range []struct {
		claim    string
		settings map[string]string
		args     []string
		code     int
		says     string
	}{
		{"no such topic", map[string]string{"KAFKA_TOPIC_NAME": "nowhere"}, nil, 1, "topic does not exist"},
		{"a place that is none", nil, []string{"--from=yesterday"}, 2, "--from must be beginning, end, a time"},
		{"an age to come", nil, []string{"--from=-5m"}, 2, "--from must be beginning, end, a time"},
		{"no lines", nil, []string{"-n", "0"}, 2, "--lines must be at least 1"},
		{"a registry is needed", map[string]string{"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": ""}, nil, 2, "AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL"},
	} {
		_, log, code := call(t, w, c.settings, append([]string{"tail"}, c.args...)...)
		if code != c.code || !strings.Contains(log, c.says) {
			t.Errorf("%s: got exit %d, want %d and %q in\n%s", c.claim, code, c.code, c.says, log)
		}
	}
}
