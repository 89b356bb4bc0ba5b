package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/publish/publishtest"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// grave is a world with a few bad shifts among good ones, and a topic of dead letters.
type grave struct {
	*world.World
	servers
	topic, dead string
	env         env
}

const (
	startless = 5001 // has no start
	huge      = 5002 // has notes that are larger than the topic takes
)

// newGrave has no topic for dead letters yet.
func newGrave(t *testing.T, w *world.World, s servers) *grave {
	t.Helper()
	g := &grave{World: w, servers: s, topic: "with-letters", dead: "with-letters-dlq"}
	s.empty(t, g.topic, g.topic+"-key", g.topic+"-value")
	s.empty(t, g.dead)
	if err := publishtest.CreateTopic(t.Context(), s.brokers, g.topic, 3, map[string]string{"cleanup.policy": "compact", "max.message.bytes": "20000"}); err != nil {
		t.Fatal(err)
	}
	g.env = env{
		"KAFKA_TOPIC_NAME": g.topic, "DLQ_TOPIC": g.dead, "KAFKA_BROKERS": strings.Join(s.brokers, ","), "REDIS_HOST": s.redis,
		"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": s.registry, "BAD_SHARE": "0.5",
	}
	now := time.Now()
	for _, bad := range []string{
		`{"id":"not a number","start_time":"x"}`,
		fmt.Sprintf(`{"id":%d,"end_time":"Mon, 01 Oct 2018 15:27:30 +0100","notes":"of Jane Doe"}`, startless),
	} {
		w.API.PutJSON(int64(len(bad)), now, now.Add(time.Hour), bad)
	}
	for id, large := range truth(w) {
		w.API.Delete(id)
		large.ID, large.Notes = huge, strings.Repeat("0123456789", 3000)
		w.API.Put(large, wiwtest.Shape2025)
		break
	}
	return g
}

// makeDead creates the topic of dead letters with room for less than the large shift.
func (g *grave) makeDead(t *testing.T) {
	t.Helper()
	if err := publishtest.CreateTopic(t.Context(), g.brokers, g.dead, 1, map[string]string{"max.message.bytes": "10000"}); err != nil {
		t.Fatal(err)
	}
}

func (g *grave) pass(t *testing.T, want int) string {
	t.Helper()
	_, code, log := once(t, g.World, g.env)
	if code != want {
		t.Fatalf("got exit %d, want %d\n%s", code, want, log)
	}
	return log
}

// neighboursArrived fails unless all good shifts are in the topic, and nothing else.
func (g *grave) neighboursArrived(t *testing.T) {
	t.Helper()
	want := truth(g.World)
	delete(want, huge)
	records := consumeFrom(t, g.servers, g.topic)
	saysWhatIsTrue(t, records, want)
	if len(records) != len(want) {
		t.Errorf("the topic has %d records, want %d", len(records), len(want))
	}
}

func (g *grave) letters(t *testing.T) []publishtest.Message {
	t.Helper()
	messages, err := publishtest.ReadAll(t.Context(), g.brokers, g.dead)
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

func TestBadShiftsBecomeDeadLettersOnceAVersion(t *testing.T) {
	onEach(t, 40, func(t *testing.T, w *world.World, s servers) {
		g := newGrave(t, w, s)
		g.makeDead(t)
		log := g.pass(t, 0)
		g.neighboursArrived(t)
		for _, want := range []string{`"id":5001,"why":"`, `"id":5002,"why":"too large`, `"id":0,"why":"`} {
			if strings.Count(log, want) != 1 {
				t.Errorf("%s is not once in\n%s", want, log)
			}
		}
		if strings.Contains(log, "Jane") {
			t.Errorf("the log quotes a shift:\n%s", log)
		}

		letters := g.letters(t)
		stages := map[string]string{}
		for _, l := range letters {
			stages[l.Headers["slotsync-shift"]] = l.Headers["slotsync-stage"]
			if strings.Contains(fmt.Sprint(l.Headers), "Jane") {
				t.Errorf("headers quote a shift: %q", l.Headers)
			}
			switch l.Headers["slotsync-shift"] {
			case "5001":
				if string(l.Key) != "5001" || !strings.Contains(string(l.Value), "Jane Doe") {
					t.Errorf("got %q: %q", l.Key, l.Value)
				}
			case "5002":
				if len(l.Value) > 10_000 || len(l.Value) < 8000 || len(l.Headers["slotsync-full-bytes"]) != 5 {
					t.Errorf("got %d bytes, and %q", len(l.Value), l.Headers)
				}
			}
		}
		if len(letters) != 3 || stages["5001"] != "parse" || stages["5002"] != "publish" || stages[""] != "parse" {
			t.Errorf("got %d letters of %v", len(letters), stages)
		}

		g.pass(t, 0)
		if n := len(g.letters(t)); n != 3 {
			t.Errorf("a pass without a change makes them %d", n)
		}
		w.API.PutJSON(startless, time.Now(), time.Now().Add(time.Hour), `{"id":5001,"notes":"another version"}`)
		g.pass(t, 0)
		if n := len(g.letters(t)); n != 4 {
			t.Errorf("another bad version makes them %d", n)
		}
		g.tailShows(t, 4)
	})
}

// tailShows fails unless the letters can be looked at, as far as they are whole.
func (g *grave) tailShows(t *testing.T, want int) {
	t.Helper()
	out, log, code := call(t, g.World, g.env, "tail", "--dead-letters", "--no-follow")
	lines := shown(t, out)
	if code != 0 || len(lines) != want {
		t.Fatalf("tail: got exit %d and %d lines, want %d\n%s", code, len(lines), want, log)
	}
	var ids []string
	for _, line := range lines {
		key, _ := line["key"].(map[string]any)
		value, _ := line["value"].(map[string]any)
		headers := line["headers"].(map[string]any)
		if key["id"] == 5002.0 {
			if line["error"] == nil {
				t.Errorf("a record that was cut: got %v", line)
			}
		} else if line["error"] != nil || value["id"] == nil || headers["slotsync-reason"] == "" {
			t.Errorf("got %v", line)
		}
		ids = append(ids, fmt.Sprint(key["id"]))
	}
	slices.Sort(ids)
	if got := fmt.Sprint(ids); got != "[5001 5001 5002 <nil>]" {
		t.Errorf("got the ids %s", got)
	}
	if out, _, _ := call(t, g.World, g.env, "tail", "--dead-letters", "--no-follow", "--id", "5001"); len(shown(t, out)) != 2 {
		t.Errorf("those of one shift: got\n%s", out)
	}
}

func TestWithoutTheirTopicOnlyLettersWait(t *testing.T) {
	onEach(t, 40, func(t *testing.T, w *world.World, s servers) {
		g := newGrave(t, w, s)
		for _, asides := range []int{3, 0} { // each is told once
			log := g.pass(t, 3)
			g.neighboursArrived(t)
			for _, want := range []string{g.dead, "does not exist", "3 dead letters wait", "check --create-topic", `"reason":"dead_letters"`} {
				if !strings.Contains(log, want) {
					t.Errorf("%q is not in\n%s", want, log)
				}
			}
			if strings.Count(log, "shift set aside") != asides {
				t.Errorf("not %d were set aside:\n%s", asides, log)
			}
		}
		// They went from the window meanwhile, and their letters come all the same.
		w.API.Delete(huge)
		w.API.Delete(startless)
		if out, log, code := call(t, w, g.env, "check", "--create-topic", "--replication-factor", "1"); code != 0 {
			t.Fatalf("check: exit %d\n%s\n%s", code, out, log)
		}
		log := g.pass(t, 0)
		g.neighboursArrived(t)
		if letters := g.letters(t); len(letters) != 3 || strings.Contains(log, "shift set aside") {
			t.Errorf("got %d letters and\n%s", len(letters), log)
		}
	})
}

func TestADryRunWritesNoDeadLetter(t *testing.T) {
	w := start(t, world.Options{Shifts: 40})
	g := newGrave(t, w, inWorld(w))
	g.makeDead(t)
	out, log, code := call(t, w, g.env, "--once", "--dry-run")
	if code != 0 || !strings.Contains(out, "aside    5001: ") {
		t.Errorf("got exit %d\n%s\n%s", code, out, log)
	}
	if n := len(g.letters(t)); n != 0 {
		t.Errorf("got %d letters", n)
	}
}

func TestTooManyBadShiftsFailThePassThoughAllAreBuried(t *testing.T) {
	w := start(t, world.Options{Shifts: 40})
	g := newGrave(t, w, inWorld(w))
	g.makeDead(t)
	g.env["BAD_SHARE"] = "0.01"
	if log := g.pass(t, 1); !strings.Contains(log, "too many bad shifts") || strings.Count(log, "shift set aside") != 3 {
		t.Errorf("got\n%s", log)
	}
	if n := len(g.letters(t)); n != 3 {
		t.Errorf("got %d letters", n)
	}
}

// A bad shift is settled when it is set aside; people once looked for it among those that are pending.
func TestItIsTheLetterThatIsSaidToWait(t *testing.T) {
	for name, want := range map[string]int{
		"check_letters.go":                  2,
		"dashboards/prometheus/alerts.yaml": 1, "dashboards/prometheus/alerts_test.yaml": 1,
		"dashboards/datadog/assets/monitors/dead_letters_do_not_arrive.json": 2,
	} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lower := strings.ToLower(string(text))
		if n := strings.Count(lower, "dead letters wait in redis"); n != want || strings.Contains(lower, "bad shift stays pending") || strings.Contains(lower, "bad shifts stay pending") {
			t.Errorf("%s says %d times that dead letters wait in Redis, want %d, and of no bad shift that it is pending", name, n, want)
		}
	}
}
