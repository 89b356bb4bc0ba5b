package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hamba/avro/v2"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/publish/publishtest"
	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// record is a record as a consumer with another client and another Avro library sees it.
type record struct {
	publishtest.Message
	id    int64
	value map[string]any // nil: a tombstone
}

func consume(t *testing.T, w *world.World) []record {
	t.Helper()
	return consumeFrom(t, inWorld(w), world.Topic)
}

func consumeFrom(t *testing.T, s servers, topic string) []record {
	t.Helper()
	messages, err := publishtest.ReadAll(t.Context(), s.brokers, topic)
	if err != nil {
		t.Fatal(err)
	}
	return decoded(t, s.registry, messages, nil)
}

// decoded reads messages with the schemas that they were written with, and their values into another one if it is given.
func decoded(t *testing.T, registry string, messages []publishtest.Message, into avro.Schema) []record {
	t.Helper()
	schemas := map[uint32]avro.Schema{}
	decode := func(framed []byte, into avro.Schema) map[string]any {
		if len(framed) < 5 || framed[0] != 0 {
			t.Fatalf("not in Confluent's wire format: %x", framed)
		}
		id := binary.BigEndian.Uint32(framed[1:])
		if schemas[id] == nil {
			schemas[id] = schemaByID(t, registry, id)
		}
		schema := schemas[id]
		if into != nil {
			var err error
			if schema, err = avro.NewSchemaCompatibility().Resolve(into, schema); err != nil {
				t.Fatal(err)
			}
		}
		var out map[string]any
		if err := avro.Unmarshal(schema, framed[5:], &out); err != nil {
			t.Fatal(err)
		}
		for name, value := range out { // the library's way to say which branch of a union it is
			if union, ok := value.(map[string]any); ok && len(union) == 1 && union["array"] != nil {
				out[name] = union["array"]
			}
		}
		return out
	}
	var records []record
	for _, m := range messages {
		r := record{Message: m}
		if m.Value != nil {
			r.value = decode(m.Value, into)
		}
		switch id := decode(m.Key, nil)["id"].(type) {
		case int64:
			r.id = id
		case int: // of a key schema that says int
			r.id = int64(id)
		}
		records = append(records, r)
	}
	return records
}

func schemaByID(t *testing.T, registry string, id uint32) avro.Schema {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/schemas/ids/%d", registry, id), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var found struct{ Schema string }
	if err := json.NewDecoder(resp.Body).Decode(&found); err != nil {
		t.Fatal(err)
	}
	schema, err := avro.ParseWithCache(found.Schema, "", &avro.SchemaCache{})
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// truth is what the API says of the window that the world's settings ask for.
func truth(w *world.World) map[int64]shiftsync.Shift {
	now := time.Now()
	return w.API.Truth(shiftsync.Window{Start: now.AddDate(0, 0, -1), End: now.AddDate(0, 0, 2)}, "open", "unpublished")
}

// inStep fails unless the newest record of each shift says what the API says.
func inStep(t *testing.T, w *world.World) []record {
	t.Helper()
	records := consume(t, w)
	saysWhatIsTrue(t, records, truth(w))
	return records
}

// saysWhatIsTrue fails unless the last of the records of each shift says what is wanted.
func saysWhatIsTrue(t *testing.T, records []record, want map[int64]shiftsync.Shift) {
	t.Helper()
	newest := map[int64]record{}
	for _, r := range records {
		newest[r.id] = r
	}
	if len(want) == 0 {
		t.Fatal("the API has no shift: nothing was compared")
	}
	for id, shift := range want {
		r, there := newest[id]
		if !there {
			t.Errorf("shift %d is not in the topic", id)
			continue
		}
		for field, wanted := range expected(shift) {
			if got := r.value[field]; !same(got, wanted) {
				t.Errorf("shift %d, %s: got %#v, want %#v", id, field, got, wanted)
			}
		}
	}
}

// same tells whether two values of a record are of one kind and equal. Readers have different types for a whole number, and
// for a list.
func same(got, want any) bool { return reflect.DeepEqual(plain(got), plain(want)) }

// plain is a value with int64 for whole numbers, float64 for others, and lists of anything.
func plain(v any) any {
	if n, ok := v.(json.Number); ok {
		if whole, err := n.Int64(); err == nil {
			return whole
		}
		fraction, _ := n.Float64()
		return fraction
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Int, reflect.Int32, reflect.Int64:
		return r.Int()
	case reflect.Float32, reflect.Float64:
		return r.Float()
	case reflect.Slice:
		all := make([]any, r.Len())
		for i := range all {
			all[i] = plain(r.Index(i).Interface())
		}
		return all
	case reflect.Map:
		all := map[string]any{}
		for _, name := range r.MapKeys() {
			all[name.String()] = plain(r.MapIndex(name).Interface())
		}
		return all
	}
	return v
}

func TestTextIsNotTakenForWhatItLooksLike(t *testing.T) {
	for _, c := range []struct {
		got, want any
		same      bool
	}{
		{json.Number("5"), int64(5), true}, {int32(5), 5, true}, {"5", int64(5), false}, {json.Number("5"), 5.5, false},
		{nil, nil, true}, {"<nil>", nil, false}, {"", nil, false}, {"true", true, false}, {0, false, false},
		{[]any{json.Number("1")}, []int64{1}, true}, {[]any{"1"}, []int64{1}, false}, {"[1]", []int64{1}, false},
		{[]any{map[string]any{"id": json.Number("1")}}, []any{map[string]any{"id": int64(1)}}, true},
		{[]any{map[string]any{"id": "1"}}, []any{map[string]any{"id": int64(1)}}, false},
	} {
		if same(c.got, c.want) != c.same {
			t.Errorf("%#v and %#v: want them the same: %v", c.got, c.want, c.same)
		}
	}
}

// expected is what a consumer should read of a shift, field by field.
func expected(s shiftsync.Shift) map[string]any {
	date := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return at.UTC().Format("2006-01-02T15:04:05Z")
	}
	orNull := func(text string) any {
		if text == "" {
			return nil
		}
		return text
	}
	return map[string]any{
		"account_id": s.AccountID, "acknowledged": map[bool]int{true: 1}[s.Acknowledged], "acknowledged_at": orNull(date(s.AcknowledgedAt)),
		"actionable": s.Actionable, "alerted": s.Alerted, "block_id": s.BlockID, "break_time": int64(s.BreakTime), "color": s.Color,
		"created_at": date(s.CreatedAt), "creator_id": s.CreatorID, "end_time": date(s.EndTime), "id": s.ID, "instances": s.Instances,
		"is_open": s.IsOpen, "linked_users": nil, "location_id": s.LocationID, "notes": s.Notes, "notified_at": orNull(date(s.NotifiedAt)),
		"position_id": s.PositionID, "published": s.Published, "published_date": date(s.PublishedDate), "shiftchain_key": s.ShiftchainKey,
		"site_id": s.SiteID, "start_time": date(s.StartTime), "updated_at": date(s.UpdatedAt), "user_id": s.UserID,
	}
}

func TestTheTopicFollowsTheAPI(t *testing.T) {
	t.Parallel()
	w := start(t, world.Options{Shifts: 1500, Partitions: 3})
	all := len(truth(w))
	pass := func(claim string, want int) {
		t.Helper()
		rep, code, log := once(t, w, nil)
		if got := published(rep); got != want || code != 0 {
			t.Errorf("%s: published %d, exit %d, want %d, 0\n%s", claim, got, code, want, log)
		}
	}
	pass("the first pass publishes all", all)
	inStep(t, w)
	pass("the second none", 0)

	id := slices.Sorted(maps.Keys(truth(w)))[0]
	a, _ := w.API.Get(id)
	b := a
	b.Notes += " (changed)"
	w.API.Put(b, wiwtest.Shape2025)
	pass("one change, one record", 1)
	w.API.Put(a, wiwtest.Shape2025)
	pass("a revert is a change", 1)
	churned := 0
	for _, id := range w.API.Churn(50) {
		if _, inWindow := truth(w)[id]; inWindow {
			churned++
		}
	}
	pass("a change of some publishes exactly those", churned)

	var notes []string
	for _, r := range inStep(t, w) {
		if r.Headers["slotsync-pass"] == "" || len(r.Headers["slotsync-hash"]) != 32 {
			t.Fatalf("got the headers %v", r.Headers)
		}
		if r.id == id {
			notes = append(notes, r.value["notes"].(string))
		}
	}
	if len(notes) < 3 || notes[0] != a.Notes || notes[1] != b.Notes || notes[2] != a.Notes {
		t.Errorf("A → B → A arrived as %q", notes)
	}
}

// What the program does when something is wrong, as an operator meets it.
func TestAFaultHasItsExitCode(t *testing.T) {
	t.Parallel()
	const nothing = "127.0.0.1:1" // nobody listens there
	for _, c := range []struct {
		claim    string
		spoil    func(w *world.World)
		settings map[string]string
		code     int
		says     string
	}{
		{"all is well", func(*world.World) {}, nil, 0, ""},
		{"the API refuses the token", func(w *world.World) { w.API.SetToken("another") }, nil, 1, "WIW_KEY"},
		{"the API is broken", func(w *world.World) { w.API.Fail(-1, wiwtest.CutOff(0.5)) }, nil, 1, "read shifts"},
		{"one shift is bad", func(w *world.World) {
			w.API.PutJSON(5, time.Now(), time.Now().Add(time.Hour), `{"id":5,"end_time":"Mon, 01 Oct 2018 15:27:30 +0100"}`)
		}, nil, 0, "shift set aside"},
		{"Redis is away", func(*world.World) {}, map[string]string{"REDIS_HOST": "redis://" + nothing}, 1, "acquire lease"},
		{"Kafka is away", func(*world.World) {}, map[string]string{"KAFKA_BROKERS": nothing}, 1, "kafka"},
		{"the registry is away", func(*world.World) {}, map[string]string{"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": "http://" + nothing}, 1, "prepare schemas"},
		{"the topic is not there", func(*world.World) {}, map[string]string{"KAFKA_TOPIC_NAME": "nowhere"}, 1, "nowhere"},
		{"a setting is wrong", func(*world.World) {}, map[string]string{"SYNC_DAYS_AHEAD": "soon"}, 2, "SYNC_DAYS_AHEAD"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			t.Parallel()
			w := start(t, world.Options{Shifts: 20, Partitions: 2})
			c.spoil(w)
			_, code, log := once(t, w, c.settings)
			if code != c.code || !strings.Contains(log, c.says) {
				t.Errorf("got exit %d, want %d and %q in\n%s", code, c.code, c.says, log)
			}
			if c.code != 2 { // a wrong setting is said before there is a log
				wantOneError(t, log, c.code)
			}
			if strings.Contains(log, w.Env()["WIW_KEY"]) {
				t.Errorf("the token is in the log:\n%s", log)
			}
		})
	}
}

// wantOneError fails unless every line of the log is JSON and, if the program failed, one is about the failure.
func wantOneError(t *testing.T, log string, code int) {
	t.Helper()
	failures := 0
	for line := range strings.Lines(log) {
		var entry struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("got a line that is no JSON: %s", line)
		}
		if entry.Level == "ERROR" {
			failures++
		}
	}
	if want := min(code, 1); failures != want {
		t.Errorf("got %d lines about the failure, want %d:\n%s", failures, want, log)
	}
}

func TestTheLoopStopsCleanly(t *testing.T) {
	w := start(t, world.Options{Shifts: 100, Partitions: 2})
	env := w.Env()
	ctx, stop := context.WithCancelCause(t.Context())
	log := &firstPass{done: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, nil, func(name string) string { return env[name] }, io.Discard, log) }()
	<-log.done
	stop(errors.New("asked to"))
	if err := <-ended; err != nil {
		t.Errorf("got %v\n%s", err, log.Buffer.String())
	}
	_, end, _ := strings.Cut(log.Buffer.String(), `"msg":"stopping: the batch in hand is finished first, a second signal kills","cause":"asked to"`)
	if !strings.HasSuffix(end, `"msg":"stopped"}`+"\n") {
		t.Errorf("got the log\n%s, want the stop, its cause and its end in it", log.Buffer.String())
	}
	inStep(t, w)
	if keys := w.Redis.Keys(); slices.ContainsFunc(keys, func(k string) bool { return strings.HasSuffix(k, ":lease") }) {
		t.Errorf("the lease is not given back: %v", keys)
	}
}

// firstPass is a log that tells when the first pass is done.
type firstPass struct {
	bytes.Buffer
	done chan struct{}
	told bool
}

func (f *firstPass) Write(p []byte) (int, error) {
	n, err := f.Buffer.Write(p)
	if !f.told && bytes.Contains(p, []byte(`"pass done"`)) {
		f.told = true
		close(f.done)
	}
	return n, err
}
