package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/publish/publishtest"
	"github.com/slotsync/slotsync/schemas"
	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// Programs that are not of our making read what the worker, as it is built, has written to real servers.
func TestOthersReadWhatTheWorkerWrites(t *testing.T) {
	s := inStack(t)
	w := start(t, world.Options{Shifts: 300})
	told := writeHistory(t, w, s)

	for _, reader := range []struct {
		name string
		read func(t *testing.T, s servers) []record
		old  bool // whether it knows the schema of slot_sync only
	}{
		{"kcat", readWithKcat, false},
		{"Kafka's console consumer", readWithConsole, false},
		{"Confluent's deserialiser in Python", readWithPython, false},
		{"a class that Java has from the schema of slot_sync", readWithJava, true},
	} {
		t.Run(reader.name, func(t *testing.T) {
			told.compare(t, reader.read(t, s), reader.old)
		})
	}
}

// history is what the API said of each shift, pass by pass, without repetition.
type history map[int64][]shiftsync.Shift

const historyTopic = "history"

// writeHistory lets the worker follow some changes, in a place where slot_sync has registered its schemas and the
// registry takes none that is not compatible in both directions.
func writeHistory(t *testing.T, w *world.World, s servers) history {
	t.Helper()
	const key, value = historyTopic + "-key", historyTopic + "-value"
	s.empty(t, historyTopic, key, value)
	if err := publishtest.CreateTopic(t.Context(), s.brokers, historyTopic, 3, nil); err != nil {
		t.Fatal(err)
	}
	registry := s.registryClient(t)
	for subject, schema := range map[string]string{key: oldKey("long"), value: oldValue()} {
		if _, err := registry.CreateSchema(t.Context(), subject, sr.Schema{Schema: schema}); err != nil {
			t.Fatal(err)
		}
		if err := registry.SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatFull}, subject)[0].Err; err != nil {
			t.Fatal(err)
		}
	}

	binary := filepath.Join(t.TempDir(), "slotsync")
	output(t, exec.CommandContext(limited(t, toBuild), "go", "build", "-o", binary, "."))
	settings := w.Env()
	maps.Copy(settings, map[string]string{
		"KAFKA_BROKERS": strings.Join(s.brokers, ","), "KAFKA_TOPIC_NAME": historyTopic, "REDIS_HOST": s.redis,
		"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": s.registry,
	})
	told := history{}
	pass := func() {
		t.Helper()
		worker := exec.CommandContext(limited(t, toRead), binary, "--once")
		for name, value := range settings {
			worker.Env = append(worker.Env, name+"="+value)
		}
		if log, err := worker.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		for id, shift := range truth(w) {
			if before := told[id]; len(before) == 0 || !same(allFields(before[len(before)-1]), allFields(shift)) {
				told[id] = append(told[id], shift)
			}
		}
	}
	pass()
	id := slices.Max(slices.Collect(maps.Keys(told))) // beyond 32 bits
	a, _ := w.API.Get(id)
	b := a
	b.Notes = `two lines, "quoted":` + "\nÜbergabe ☕"
	for _, next := range []shiftsync.Shift{b, a} {
		w.API.Put(next, wiwtest.Shape2025)
		pass()
	}
	for range 3 {
		w.API.Churn(25)
		pass()
	}
	if n := len(told[id]); n < 3 || len(s.versions(t, value)) != 2 {
		t.Fatalf("the history has %d versions of shift %d, want 3, and the schema %d, want 2", n, id, len(s.versions(t, value)))
	}
	return told
}

// compare fails unless the records tell the history, each shift's versions in their order.
func (h history) compare(t *testing.T, got []record, old bool) {
	t.Helper()
	next := map[int]int64{} // offset of the partition's next record
	versions := map[int64][]record{}
	for _, r := range got {
		if r.Offset != next[r.Partition] {
			t.Fatalf("partition %d: offset %d came in the place of %d", r.Partition, r.Offset, next[r.Partition])
		}
		next[r.Partition]++
		versions[r.id] = append(versions[r.id], r)
		if len(r.Headers["slotsync-hash"]) != 32 || r.Headers["slotsync-pass"] == "" {
			t.Errorf("shift %d: got the headers %v", r.id, r.Headers)
		}
	}
	if len(versions) != len(h) || len(h) == 0 {
		t.Errorf("got %d shifts, want %d", len(versions), len(h))
	}
	for id, wanted := range h {
		if len(versions[id]) != len(wanted) {
			t.Errorf("shift %d: got %d records, want %d", id, len(versions[id]), len(wanted))
			continue
		}
		for i, shift := range wanted {
			fields := allFields(shift)
			if old {
				fields = expected(shift)
			}
			value := versions[id][i].value
			if len(value) != len(fields) {
				t.Errorf("shift %d, version %d: got %d fields, want %d", id, i, len(value), len(fields))
			}
			for field, want := range fields {
				if got, there := value[field]; !there || !same(got, want) {
					t.Errorf("shift %d, version %d, %s: got %#v, want %#v", id, i, field, got, want)
				}
			}
		}
	}
}

// allFields is what a consumer that knows the newest schema should read of a shift.
func allFields(s shiftsync.Shift) map[string]any {
	all := expected(s)
	date := func(at time.Time) any {
		if at.IsZero() {
			return nil
		}
		return at.UTC().Format(time.RFC3339)
	}
	all["break_time_hours"] = orNil(s.BreakTimeHours)
	all["is_shared"], all["is_trimmed"] = orNil(s.IsShared), orNil(s.IsTrimmed)
	all["requires_openshift_approval"] = orNil(s.RequiresOpenshiftApproval)
	all["openshift_approval_request_id"] = orNil(s.OpenshiftApprovalRequestID)
	all["is_approved_without_time"] = orNil(s.IsApprovedWithoutTime)
	all["linked_user_ids"], all["breaks"] = nil, nil
	if s.LinkedUserIDs != nil {
		all["linked_user_ids"] = s.LinkedUserIDs
	}
	if s.Breaks != nil {
		var breaks []any
		for _, b := range s.Breaks {
			breaks = append(breaks, map[string]any{
				"id": b.ID, "length_seconds": b.LengthSeconds, "paid": b.Paid, "start_time": date(b.StartTime), "end_time": date(b.EndTime), "sort": b.Sort,
			})
		}
		all["breaks"] = breaks
	}
	return all
}

// orNil is the value of an optional, or nil.
func orNil[T any](o shiftsync.Optional[T]) any {
	if !o.Set {
		return nil
	}
	return o.Value
}

// readWithKcat takes the bytes from kcat and decodes them with another Avro library than ours.
func readWithKcat(t *testing.T, s servers) []record {
	need(t, "kcat", "apt-get install kcat")
	out := output(t, exec.CommandContext(limited(t, toRead), "kcat", "-q", "-b", strings.Join(s.brokers, ","), "-C", "-e", "-t", historyTopic,
		"-f", `%p %o %K %S %h\n%k%s`))
	var messages []publishtest.Message
	for in := bufio.NewReader(bytes.NewReader(out)); ; {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return decoded(t, s.registry, messages, nil)
		}
		m := publishtest.Message{Headers: map[string]string{}}
		var key, value int
		var headers string
		if _, err := fmt.Sscan(line, &m.Partition, &m.Offset, &key, &value, &headers); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		for _, header := range strings.Split(headers, ",") {
			name, text, _ := strings.Cut(header, "=")
			m.Headers[name] = text
		}
		m.Key, m.Value = make([]byte, key), make([]byte, value)
		for _, part := range [][]byte{m.Key, m.Value} {
			if _, err := io.ReadFull(in, part); err != nil {
				t.Fatal(err)
			}
		}
		messages = append(messages, m)
	}
}

// readWithConsole takes the bytes from Kafka's console consumer, which writes all but letters and signs as \xHH.
func readWithConsole(t *testing.T, s servers) []record {
	need(t, "java", "apt-get install default-jre-headless")
	ends, err := publishtest.ReadAll(t.Context(), s.brokers, historyTopic)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-cp", fromStack(t, "SLOTSYNC_TEST_KAFKA_JARS") + "/*", "org.apache.kafka.tools.consumer.ConsoleConsumer",
		"--bootstrap-server", strings.Join(s.brokers, ","), "--topic", historyTopic, "--from-beginning", "--max-messages", strconv.Itoa(len(ends))}
	const asBytes = "org.apache.kafka.common.serialization.BytesDeserializer"
	for _, property := range []string{"print.partition=true", "print.offset=true", "print.headers=true", "print.key=true",
		"key.separator=\t", "key.deserializer=" + asBytes, "value.deserializer=" + asBytes} {
		args = append(args, "--property", property)
	}
	plain := regexp.MustCompile(`\\x[0-9A-F]{2}`)
	unescape := func(text string) []byte {
		return plain.ReplaceAllFunc([]byte(text), func(hex []byte) []byte {
			b, _ := strconv.ParseUint(string(hex[2:]), 16, 8)
			return []byte{byte(b)}
		})
	}
	var messages []publishtest.Message
	for line := range strings.Lines(string(output(t, exec.CommandContext(limited(t, toRead), "java", args...)))) {
		if !strings.HasPrefix(line, "Partition:") {
			continue // newer versions of it do not like the option --property, older ones know no other
		}
		m := publishtest.Message{Headers: map[string]string{}}
		parts := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(parts) != 5 {
			t.Fatalf("got the line %q", line)
		}
		if _, err := fmt.Sscanf(parts[0]+" "+parts[1], "Partition:%d Offset:%d", &m.Partition, &m.Offset); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		for _, header := range strings.Split(parts[2], ",") {
			name, text, _ := strings.Cut(header, ":")
			m.Headers[name] = text
		}
		m.Key, m.Value = unescape(parts[3]), unescape(parts[4])
		messages = append(messages, m)
	}
	return decoded(t, s.registry, messages, nil)
}

func readWithPython(t *testing.T, s servers) []record {
	python := fromStack(t, "SLOTSYNC_TEST_PYTHON")
	home := filepath.Dir(filepath.Dir(python))
	need(t, python, fmt.Sprintf("python3 -m venv %s && %s/bin/pip install -r cmd/slotsync/testdata/readers/requirements.txt", home, home))
	return readLines(t, exec.CommandContext(limited(t, toRead), python, "testdata/readers/reader.py", strings.Join(s.brokers, ","), s.registry, historyTopic))
}

func readWithJava(t *testing.T, s servers) []record {
	need(t, "javac", "apt-get install default-jdk-headless")
	need(t, "mvn", "apt-get install maven")
	dir := t.TempDir()
	for name, schema := range map[string]string{"key": oldKey("long"), "slot": schemas.Value2018(oldNamespace)} {
		if err := os.WriteFile(filepath.Join(dir, name+".avsc"), []byte(schema), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	output(t, exec.CommandContext(limited(t, toBuild), "mvn", "-q", "-B", "-f", "testdata/readers/pom.xml", "-Dschemas="+dir, "-Dtarget="+dir,
		"compile", "dependency:copy-dependencies", "-DoutputDirectory="+dir+"/jars"))
	return readLines(t, exec.CommandContext(limited(t, toRead), "java", "-cp", dir+"/classes:"+dir+"/jars/*", "Reader",
		strings.Join(s.brokers, ","), s.registry, historyTopic))
}

// readLines parses what our readers in other languages print: a line of JSON for each record.
func readLines(t *testing.T, reader *exec.Cmd) []record {
	t.Helper()
	var all []record
	lines := json.NewDecoder(bytes.NewReader(output(t, reader)))
	lines.UseNumber()
	for {
		var line struct {
			publishtest.Message
			Key     struct{ ID int64 }
			Value   map[string]any
			Headers map[string]string
		}
		err := lines.Decode(&line)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		line.Message.Headers = line.Headers
		if hours, ok := line.Value["break_time_hours"].(json.Number); ok { // the only one that is not whole: 1.0 is 1
			if line.Value["break_time_hours"], err = hours.Float64(); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, record{Message: line.Message, id: line.Key.ID, value: line.Value})
	}
}

// A program that waits for what does not come is ended. What builds others may have to download, and to compile all.
const (
	toRead  = 2 * time.Minute
	toBuild = 10 * time.Minute
)

func limited(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// need fails the test if a program is not there.
func need(t *testing.T, program, remedy string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%v: %s", err, remedy)
	}
}

// output runs a program and returns what it prints.
func output(t *testing.T, c *exec.Cmd) []byte {
	t.Helper()
	var complaints bytes.Buffer
	c.Stderr = &complaints
	c.WaitDelay = 10 * time.Second // for what it has started and left behind
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", c, err, out, complaints.String())
	}
	return out
}
