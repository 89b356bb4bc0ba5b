package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/publish/publishtest"
	"github.com/slotsync/slotsync/schemas"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// oldNamespace is the namespace of slot_sync's schemas, and the first part of the subjects that it registered.
const oldNamespace = "uk.london.quiqup.slots"

// environments are those of deployments of slot_sync, but for the addresses, which are the test's.
func environments() map[string]map[string]string {
	return map[string]map[string]string{
		"its example": {
			"KAFKA_HEARTBEAT_INTERVAL": "1000", "KAFKA_COMMIT_INTERVAL": "1000", "START_WORKERS": "true",
			"KAFKA_SCHEMA_REGISTRY_URL": "http://localhost:8081", "SCHEMA_REGISTRY_URL": "http://localhost:8081",
			"KAFKA_TOPIC_NAME": oldNamespace,
			"EXPIRE_CACHE":     "604800", "SYNC_DAYS_AHEAD": "1", "SYNC_DAYS_PRIOR": "0", "SYNC_SLEEP_PERIOD_SECONDS": "10",
		},
		"all that it knew": {
			"LENSES_HOST": "http://localhost:9991", "LENSES_USER": "admin", "LENSES_PASS": "admin", "LENSES_TOPIC": "slots",
			"KAFKA_SCHEMA_NAME": oldNamespace, "KAFKA_SCHEMA_BASE_PATH": "priv/schemas",
			"KAFKA_TOPIC_NAME": "slot_sync.kafka.topic.name",
			"EXPIRE_CACHE":     "604800", "SYNC_DAYS_AHEAD": "7", "SYNC_DAYS_PRIOR": "-1", "SYNC_SLEEP_PERIOD_SECONDS": "10",
		},
	}
}

// oldKey is the key's schema as slot_sync registered it, with an id of int, or as its users had to replace it, with long.
func oldKey(id string) string {
	return fmt.Sprintf(`{"type":"record","name":"Key","namespace":%q,"connect.name":%q,"fields":[{"name":"id","type":%q}]}`, oldNamespace, oldNamespace, id)
}

func oldValue() string {
	return strings.Replace(schemas.Value2018(oldNamespace), `{"type":"record",`, fmt.Sprintf(`{"type":"record","connect.name":%q,`, oldNamespace), 1)
}

// deployment is a world in which slot_sync has been at work.
type deployment struct {
	*world.World // for its API
	servers
	env      map[string]string
	topic    string
	stats    *receiver
	subjects map[string]string // to the one schema in each
	keys     map[string]string // of Redis, to their content
	records  []record
}

// truth is what the API says of the window that the old program asked for.
func (d *deployment) truth(t *testing.T) map[int64]shiftsync.Shift {
	t.Helper()
	return d.API.Truth(d.window(t))
}

func (d *deployment) window(t *testing.T) shiftsync.Window {
	t.Helper()
	ahead, err := strconv.Atoi(d.env["SYNC_DAYS_AHEAD"])
	prior, err2 := strconv.Atoi(d.env["SYNC_DAYS_PRIOR"]) // as it was: added
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	now := time.Now()
	return shiftsync.Window{Start: now.AddDate(0, 0, prior), End: now.AddDate(0, 0, ahead)}
}

// settle takes away the shifts that enter or leave the window while the test runs.
func (d *deployment) settle(t *testing.T) {
	t.Helper()
	const longest = 5 * time.Minute
	w := d.window(t)
	for id, s := range d.API.Truth(shiftsync.Window{Start: w.Start, End: w.End.Add(longest)}) {
		if s.EndTime.Before(w.Start.Add(longest)) || !s.StartTime.Before(w.End) {
			d.API.Delete(id)
		}
	}
}

// deploy leaves in the servers what slot_sync does with that environment: subjects, keys in Redis, and records in
// partition 0 of the topic. Its keys' ids have the Avro type id.
func deploy(t *testing.T, w *world.World, s servers, env map[string]string, id string) *deployment {
	t.Helper()
	d := &deployment{World: w, servers: s, env: env, topic: env["KAFKA_TOPIC_NAME"], stats: receive(t), keys: map[string]string{}}
	d.subjects = map[string]string{
		oldNamespace + "-key": oldKey("int"), oldNamespace + "-value": oldValue(), // what it registered
	}
	d.subjects[d.topic+"-key"], d.subjects[d.topic+"-value"] = oldKey(id), oldValue() // what it wrote with
	subjects := slices.Sorted(maps.Keys(d.subjects))
	s.empty(t, d.topic, subjects...)
	if err := publishtest.CreateTopic(t.Context(), s.brokers, d.topic, 3, nil); err != nil {
		t.Fatal(err)
	}
	registry, memory := s.registryClient(t), s.redisClient(t)
	schemaIDs := map[string]int{}
	for _, subject := range subjects {
		made, err := registry.CreateSchema(t.Context(), subject, sr.Schema{Schema: d.subjects[subject]})
		if err != nil {
			t.Fatal(err)
		}
		schemaIDs[subject] = made.ID
	}
	host, port, err := net.SplitHostPort(d.stats.conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(env, map[string]string{
		"WIW_KEY":       w.Env()["WIW_KEY"],
		"WIW_URL":       w.APIURL, // the one that the old program did not have: its API stood in the code
		"KAFKA_BROKERS": strings.Join(s.brokers, ", "), "REDIS_HOST": s.redis,
		"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": s.registry,
		"STATSD_HOST":                          host, "STATSD_PORT": port,
	})

	d.settle(t)
	keySchema, valueSchema := parseAvro(t, oldKey(id)), parseAvro(t, oldValue())
	producer, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	for shift, is := range d.truth(t) {
		name := "slot:" + strconv.FormatInt(shift, 10)
		d.keys[name] = fmt.Sprintf(`{"id":%d,"notes":%q}`, shift, is.Notes)
		if err := memory.Set(t.Context(), name, d.keys[name], 604800*time.Second).Err(); err != nil {
			t.Fatal(err)
		}
		if id == "int" && shift > math.MaxInt32 {
			continue // its encoder refused it
		}
		key := map[string]any{"id": shift}
		if id == "int" {
			key["id"] = int(shift)
		}
		result := producer.ProduceSync(t.Context(), &kgo.Record{Topic: d.topic, Partition: 0,
			Key: framed(t, schemaIDs[d.topic+"-key"], keySchema, key), Value: framed(t, schemaIDs[d.topic+"-value"], valueSchema, expected(is))})
		if err := result.FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	d.records = consumeFrom(t, s, d.topic)
	if len(d.keys) == 0 || len(d.records) == 0 {
		t.Fatal("the old program has left nothing")
	}
	return d
}

func parseAvro(t *testing.T, text string) avro.Schema {
	t.Helper()
	schema, err := avro.ParseWithCache(text, "", &avro.SchemaCache{})
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func framed(t *testing.T, id int, schema avro.Schema, value map[string]any) []byte {
	t.Helper()
	body, err := avro.Marshal(schema, value)
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(id)), body...)
}

// passOnce runs the program as the old image's command did, until its first pass is done.
func (d *deployment) passOnce(t *testing.T) string {
	t.Helper()
	log := loop(t, d.env, "foreground")
	log.until(t, good, 1)
	log.halt(t)
	return log.String()
}

// ours are the records behind those of the old program.
func (d *deployment) ours(t *testing.T) []record {
	t.Helper()
	all := consumeFrom(t, d.servers, d.topic)
	return slices.DeleteFunc(all, func(r record) bool { return r.Headers["slotsync-hash"] == "" })
}

// member is a consumer that was there before, and stays: the only member of its group, which reads into the old schema.
type member struct {
	*kgo.Client
	d *deployment
}

func (d *deployment) join(t *testing.T) *member {
	t.Helper()
	m, err := kgo.NewClient(kgo.SeedBrokers(d.brokers...), kgo.ConsumerGroup("payroll "+t.Name()), kgo.ConsumeTopics(d.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return &member{m, d}
}

// readOn reads n more records.
func (m *member) readOn(t *testing.T, n int) []record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []publishtest.Message
	for len(got) < n {
		fetches := m.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("the group got %d records, want %d: %v", len(got), n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got = append(got, publishtest.Message{Partition: int(r.Partition), Offset: r.Offset, Key: r.Key, Value: r.Value})
		})
	}
	if err := m.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	return decoded(t, m.d.registry, got, parseAvro(t, oldValue()))
}

// canGoBack fails if anything that the old program relies on is not as it left it.
func (d *deployment) canGoBack(t *testing.T) {
	t.Helper()
	memory := d.redisClient(t)
	for name, want := range d.keys {
		got, err := memory.Get(t.Context(), name).Result()
		left := memory.TTL(t.Context(), name).Val()
		if err != nil || got != want || left > 604800*time.Second || left < 604800*time.Second-time.Minute {
			t.Errorf("%s: got %q for %s, %v, want %q as it was", name, got, left, err, want)
		}
	}
	names, err := memory.Keys(t.Context(), "*").Result()
	if err != nil || len(names) <= len(d.keys) {
		t.Errorf("Redis has %d keys, %v, want more than the old program's %d", len(names), err, len(d.keys))
	}
	for _, name := range names {
		if _, old := d.keys[name]; !old && !strings.HasPrefix(name, "slotsync:{") {
			t.Errorf("%s is new in Redis and not under a prefix of ours", name)
		}
	}
	all := consumeFrom(t, d.servers, d.topic)
	var old []record
	for _, r := range all {
		if r.Partition == 0 && r.Offset < int64(len(d.records)) {
			old = append(old, r)
		}
		if r.Partition > 2 {
			t.Errorf("there is a partition %d", r.Partition)
		}
	}
	if !reflect.DeepEqual(old, d.records) {
		t.Error("the old program's records are not what they were")
	}
	for subject, text := range d.subjects {
		versions := d.versions(t, subject)
		if versions[0].Schema.Schema != text {
			t.Errorf("%s: its first version is not what it was: %s", subject, versions[0].Schema.Schema)
		}
		if len(versions) == 1 {
			continue
		}
		if !strings.HasPrefix(subject, d.topic+"-") {
			t.Errorf("%s has a new version, and is no subject of ours", subject)
		}
		was, is := parseAvro(t, text), parseAvro(t, versions[1].Schema.Schema)
		rules := avro.NewSchemaCompatibility()
		if err := rules.Compatible(is, was); err != nil {
			t.Errorf("%s: who reads with the new schema cannot read what is there: %v", subject, err)
		}
		// Ids beyond 31 bits are why a key of int has to go.
		if err := rules.Compatible(was, is); err != nil && text != oldKey("int") {
			t.Errorf("%s: who reads with the old schema cannot read what is new: %v", subject, err)
		}
		if got, want := is.(avro.NamedSchema).FullName(), was.(avro.NamedSchema).FullName(); got != want {
			t.Errorf("%s: is %s, was %s", subject, got, want)
		}
		if len(versions) > 2 {
			t.Errorf("%s has %d new versions, want one", subject, len(versions)-1)
		}
	}
}

// oldMetrics sums what arrived under the names of the old program, and says whether its event came.
func (d *deployment) oldMetrics(t *testing.T) (sums map[string]int, event bool) {
	t.Helper()
	sums = map[string]int{}
	for _, line := range d.stats.lines(t, 5) {
		name, rest, _ := strings.Cut(line, ":")
		value, kind, _ := strings.Cut(rest, "|")
		if n, err := strconv.Atoi(value); err == nil && kind == "c" { // no tags, no sampling
			sums[strings.TrimPrefix(name, "slot_sync.")] += n
		}
		event = event || strings.HasPrefix(line, "_e{21,") && strings.Contains(line, "slot_sync is starting|node: ") && strings.HasSuffix(line, "|#application_start")
	}
	return sums, event
}

func TestSlotsyncTakesOverFromSlotSync(t *testing.T) {
	for _, id := range []string{"int", "long"} {
		for name, env := range environments() {
			t.Run("with "+name+" and a key of "+id, func(t *testing.T) {
				onEach(t, 60, func(t *testing.T, w *world.World, s servers) {
					takeOver(t, deploy(t, w, s, maps.Clone(env), id))
				})
			})
		}
	}
}

func takeOver(t *testing.T, d *deployment) {
	want := d.truth(t)
	payroll := d.join(t)
	payroll.readOn(t, len(d.records))
	log := d.passOnce(t)
	first := d.ours(t)
	if len(first) != len(want) {
		t.Errorf("published %d records, want the window's %d\n%s", len(first), len(want), log)
	}
	saysWhatIsTrue(t, first, want)
	others := payroll.readOn(t, len(first))
	saysWhatIsTrue(t, others, want)
	if got, want := places(others), places(first); !slices.Equal(got, want) || len(others[0].value) != 26 {
		t.Errorf("the group went on with %v of %d fields, want %v, of 26", got, len(others[0].value), want)
	}
	d.canGoBack(t)
	sums, event := d.oldMetrics(t)
	if sums["wiw.get"] != 1 || sums["processor.shift.unmatched"] != len(want) || sums["publisher.encoding.success"] != len(want) ||
		sums["processor.shift.matched"] != 0 || sums["publisher.encoding.error"] != 0 || !event {
		t.Errorf("got the metrics %v and the event: %v, want all %d unmatched and encoded", sums, event, len(want))
	}

	log = d.passOnce(t)
	if n := len(d.ours(t)) - len(first); n != 0 {
		t.Errorf("the second run published %d records, want none\n%s", n, log)
	}
	d.canGoBack(t)
	if sums, event = d.oldMetrics(t); sums["wiw.get"] != 1 || sums["processor.shift.matched"] != len(want) || sums["processor.shift.unmatched"] != 0 || !event {
		t.Errorf("of the second run: got the metrics %v and the event: %v, want all %d matched", sums, event, len(want))
	}
}

// places are where records lie, in order.
func places(records []record) []string {
	var all []string
	for _, r := range records {
		all = append(all, fmt.Sprintf("%d/%06d", r.Partition, r.Offset))
	}
	slices.Sort(all)
	return all
}

func TestSlotsyncKeepsToPartitionZeroIfAsked(t *testing.T) {
	onEach(t, 60, func(t *testing.T, w *world.World, s servers) {
		keepToPartitionZero(t, deploy(t, w, s, environments()["its example"], "long"))
	})
}

func keepToPartitionZero(t *testing.T, d *deployment) {
	d.env["KAFKA_PARTITION"] = "0"
	d.passOnce(t)
	all := consumeFrom(t, d.servers, d.topic)
	for _, r := range all {
		if r.Partition != 0 {
			t.Fatalf("a record is in partition %d", r.Partition)
		}
	}
	saysWhatIsTrue(t, all, d.truth(t)) // in one partition ours are the last of their keys
	d.canGoBack(t)
}
