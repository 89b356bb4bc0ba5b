package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/publish/publishtest"
	"github.com/slotsync/slotsync/schemas"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// everything is what stands in Redis, the topic and the registry.
func everything(t *testing.T, w *world.World) string {
	t.Helper()
	messages, err := publishtest.ReadAll(t.Context(), w.Kafka.Addrs, world.Topic)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Registry.URL()+"/schemas", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	schemas, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s\n%d records\n%s", w.Redis.Dump(), len(messages), schemas)
}

func TestADryRunTellsWhatAPassWouldDo(t *testing.T) {
	t.Parallel()
	w := start(t, world.Options{Shifts: 40})
	all := len(truth(w))
	rehearse := func(claim string, want ...string) string {
		t.Helper()
		before := everything(t, w)
		stdout, stderr, code := call(t, w, nil, "--once", "--dry-run")
		for _, part := range want {
			if code != 0 || !strings.Contains("\n"+stdout, "\n"+part) {
				t.Errorf("%s: status %d, want the line %q\n%s%s", claim, code, part, stdout, stderr)
			}
		}
		if after := everything(t, w); after != before {
			t.Errorf("%s: it wrote\n%s\nwas\n%s", claim, after, before)
		}
		return stdout + stderr
	}

	first := rehearse("before the first pass", fmt.Sprintf("a pass would publish %d shifts: %d new, 0 changed, 0 for the schema alone, 0 wanted again, 0 pending; it would set aside 0; 0 are unchanged", all, all))
	if n := strings.Count(first, "new      "); n != all {
		t.Errorf("before the first pass it names %d shifts, want %d", n, all)
	}
	if rep, code, log := once(t, w, nil); code != 0 || published(rep) != all {
		t.Fatal(log)
	}
	rehearse("when all is in step", fmt.Sprintf("a pass would publish 0 shifts: 0 new, 0 changed, 0 for the schema alone, 0 wanted again, 0 pending; it would set aside 0; %d are unchanged", all))

	ids := slices.Sorted(maps.Keys(truth(w)))
	s, _ := w.API.Get(ids[5])
	s.Notes, s.EndTime = "told by nobody", s.EndTime.Add(time.Minute)
	w.API.Put(s, wiwtest.Shape2025)
	w.API.PutJSON(88, time.Now(), time.Now().Add(time.Hour), `{"id":88,"start_time":"soon"}`)
	changed := rehearse("a changed and a bad one", fmt.Sprintf("changed  %d: ", ids[5]), "aside    88: ", "a pass would publish 1 shift: 0 new, 1 changed")
	line, _, _ := strings.Cut(changed[strings.Index(changed, "changed  "):], "\n")
	if !strings.Contains(line, "end_time") || !strings.Contains(line, "notes") || strings.Contains(line, "start_time") || strings.Contains(changed, "told by nobody") {
		t.Errorf("of the fields it says %q; its content has no place there", line)
	}

	if _, stderr, code := call(t, w, map[string]string{"KAFKA_PARTITION": "0"}, "--once", "--dry-run"); code != 1 || !strings.Contains(stderr, "would be refused") {
		t.Errorf("with another layout: status %d\n%s", code, stderr)
	}
	if _, stderr, code := call(t, w, map[string]string{"WIW_KEY": "wrong"}, "--once", "--dry-run"); code != 1 || !strings.Contains(stderr, "401") {
		t.Errorf("refused by the API: status %d\n%s", code, stderr)
	}
	for name, nobody := range map[string]string{"KAFKA_BROKERS": "127.0.0.1:1", "REDIS_HOST": "redis://127.0.0.1:1", "AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": "http://127.0.0.1:1"} {
		if _, stderr, code := call(t, w, map[string]string{name: nobody}, "--once", "--dry-run"); code != 1 || !strings.Contains(stderr, "127.0.0.1:1") {
			t.Errorf("with nobody at %s: status %d\n%s", name, code, stderr)
		}
	}
	for _, args := range [][]string{{"--dry-run"}, {"--once", "--republish", "all"}, {"--yes"}} {
		if _, _, code := call(t, w, nil, args...); code != 2 {
			t.Errorf("%v: status %d, want 2", args, code)
		}
	}
}

func TestADryRunWeighsBadShifts(t *testing.T) {
	t.Parallel()
	w := start(t, world.Options{Shifts: 40})
	all := len(truth(w))
	bad := slices.Sorted(maps.Keys(truth(w)))[:10]
	for _, id := range bad {
		w.API.PutJSON(id, time.Now(), time.Now().Add(time.Hour), fmt.Sprintf(`{"id":%d,"start_time":"soon"}`, id))
	}
	refused := fmt.Sprintf("a pass would be refused: too many bad shifts: 10 of %d", all)
	stdout, stderr, code := call(t, w, nil, "--once", "--dry-run")
	if want := "it would set aside 10; 0 are unchanged\n"; code != 1 || !strings.Contains(stderr, refused) || !strings.HasSuffix(stdout, want) {
		t.Errorf("before a pass: status %d, want 1, %q and %q\n%s%s", code, refused, want, stdout, stderr)
	}
	if _, code, log := once(t, w, nil); code != 1 {
		t.Fatalf("the pass itself: status %d\n%s", code, log)
	}
	aside := fmt.Sprintf("it would set aside 0; %d are unchanged; 10 are bad and set aside already\n", all-10)
	for share, want := range map[string]int{"0.1": 1, "0.9": 0} {
		stdout, stderr, code := call(t, w, env{"BAD_SHARE": share}, "--once", "--dry-run")
		if code != want || strings.Contains(stderr, refused) != (want == 1) || !strings.HasSuffix(stdout, aside) {
			t.Errorf("after a pass, with BAD_SHARE %s: status %d, want %d and %q\n%s%s", share, code, want, aside, stdout, stderr)
		}
	}
}

// What a release with more fields would change is told before it has registered its schema.
func TestADryRunComparesWithASchemaThatIsNotRegisteredYet(t *testing.T) {
	w := start(t, world.Options{Shifts: 20})
	for subject, text := range map[string]string{"shifts-key": schemas.Key("old"), "shifts-value": schemas.Value2018("old")} {
		if _, _, err := w.Registry.RegisterSchema(subject, sr.Schema{Schema: text}); err != nil {
			t.Fatal(err)
		}
	}
	if _, code, log := once(t, w, env{"REGISTER_SCHEMAS": "false"}); code != 0 {
		t.Fatal(log)
	}
	id := slices.Min(slices.Collect(maps.Keys(truth(w))))
	s, _ := w.API.Get(id)
	s.Notes = "told by nobody"
	w.API.Put(s, wiwtest.Shape2018)
	stdout, stderr, code := call(t, w, nil, "--once", "--dry-run")
	line, _, _ := strings.Cut(stdout[strings.Index(stdout+"changed", "changed"):], "\n")
	if code != 0 || !strings.HasPrefix(line, fmt.Sprintf("changed  %d: ", id)) || !slices.Contains(strings.FieldsFunc(line, isSpaceOrComma), "notes") {
		t.Errorf("got status %d, the line %q in\n%s%s", code, line, stdout, stderr)
	}
}

func isSpaceOrComma(r rune) bool { return r == ' ' || r == ',' }

func TestADryRunEndsWithItsReader(t *testing.T) {
	for claim, shifts := range map[string]int{"at its last line": 5, "in the middle": 1000} {
		w := start(t, world.Options{Shifts: shifts})
		r, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		env := w.Env()
		if err := run(t.Context(), []string{"--once", "--dry-run"}, func(name string) string { return env[name] }, out, io.Discard); err != nil {
			t.Errorf("%s: got %v", claim, err)
		}
		out.Close()
	}
}
