package publish_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/publish/publishtest"
	"github.com/slotsync/slotsync/schemas"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// newReader returns a reader of the cluster's topic beside a registry with our schemas: 1 the key, 2 the value, 3 the
// value of slot_sync.
func newReader(t testing.TB, c *cluster, o publish.KafkaOptions) (*publish.Reader, *srfake.Registry) {
	t.Helper()
	fake := srfake.NewRegistry()
	fake.SeedSchema("slots-key", 1, 1, sr.Schema{Schema: schemas.Key("slots")})
	fake.SeedSchema("slots-value", 1, 3, sr.Schema{Schema: schemas.Value2018("slots")})
	fake.SeedSchema("slots-value", 2, 2, sr.Schema{Schema: schemas.Value("slots")})
	registry, err := publish.NewRegistry("http://registry.test", publish.RegistryOptions{Transport: inMemory{fake.Handler()}})
	if err != nil {
		t.Fatal(err)
	}
	return publish.NewReader(newProducer(t, c, o), registry), fake
}

// shiftRecord is a record of a shift with these notes, written with the given schema.
func shiftRecord(t testing.TB, id int64, notes, schema string) shiftsync.Record {
	t.Helper()
	a, _ := encoderWith(t, schema)
	s := sample2018(t)
	s.ID, s.Notes = id, notes
	r := encode(t, a, s)
	if schema == schemas.Value2018("slots") {
		r.Value[4] = 3 // its id in the reader's registry
	}
	return r
}

// shiftRecords are records of the shifts 1, 2, … with these notes.
func shiftRecords(t testing.TB, notes ...string) []shiftsync.Record {
	t.Helper()
	var all []shiftsync.Record
	for i, text := range notes {
		all = append(all, shiftRecord(t, int64(i+1), text, schemas.Value("slots")))
	}
	return all
}

// follow returns what Follow hands over up to the ends that stand.
func follow(t testing.TB, r *publish.Reader, from publish.Start) []publish.Decoded {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []publish.Decoded
	err := r.Follow(ctx, from, true, func(d publish.Decoded) error {
		got = append(got, d)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func offsets(got []publish.Decoded) []int64 {
	var all []int64
	for _, d := range got {
		all = append(all, d.Offset)
	}
	return all
}

func notes(got []publish.Decoded) []string {
	var all []string
	for _, d := range got {
		all = append(all, fmt.Sprint(d.Value["notes"]))
	}
	return all
}

// client returns another producer than ours.
func client(t testing.TB, c *cluster, o ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.Addrs...), kgo.DefaultProduceTopic(c.topic), kgo.RecordPartitioner(kgo.ManualPartitioner())}, o...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func produce(t testing.TB, cl *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func kgoRecord(r shiftsync.Record) *kgo.Record { return &kgo.Record{Key: r.Key, Value: r.Value} }

func TestWhatIsPublishedIsReadBack(t *testing.T) {
	for _, compression := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			onEachKafka(t, publishtest.KafkaOptions{Partitions: 3}, func(t *testing.T, c *cluster) { readBack(t, c, compression) })
		})
	}
}

func readBack(t *testing.T, c *cluster, compression string) {
	k := startProducer(t, c, publish.KafkaOptions{TransactionalID: c.fenced().TransactionalID, Compression: compression})
	if _, err := k.Topic(t.Context()); err != nil {
		t.Fatal(err)
	}
	records := shiftRecords(t, "a", "b", "ü <\u2028> 😀", strings.Repeat("long ", 5000))
	records = append(records, shiftsync.Record{ID: 9, Key: slices.Concat(records[0].Key[:5], []byte{18})})
	outcomes := mustPublish(t, k, records)
	r, _ := newReader(t, c, publish.KafkaOptions{})
	got := follow(t, r, publish.Beginning())
	if len(got) != len(records) {
		t.Fatalf("got %d records, want %d", len(got), len(records))
	}
	for i, want := range records {
		one, err := r.At(t.Context(), outcomes[i].Partition, outcomes[i].Offset)
		if err != nil {
			t.Fatal(err)
		}
		same := func(d publish.Decoded) bool { return d.Partition == one.Partition && d.Offset == one.Offset }
		if n := slices.IndexFunc(got, same); n < 0 || !reflect.DeepEqual(got[n], one) {
			t.Errorf("At and Follow differ: %v, %v", one, got)
		}
		id, ok := one.ID()
		if !ok || id != want.ID || one.Tombstone != (want.Value == nil) || one.KeyBytes != len(want.Key) || one.ValueBytes != len(want.Value) {
			t.Errorf("got %+v, want shift %d", one, want.ID)
		}
		if one.Headers["slotsync-pass"] != "pass" || len(one.Headers["slotsync-hash"]) != 32 {
			t.Errorf("got headers %q", one.Headers)
		}
		if age := time.Since(one.Time); age < -time.Second || age > time.Minute {
			t.Errorf("got the time %s", one.Time)
		}
		if want.Value == nil {
			continue
		}
		var shown map[string]any
		if err := json.Unmarshal([]byte(asJSON(t, decode(t, schemas.Value("slots"), want.Value))), &shown); err != nil {
			t.Fatal(err)
		}
		if got, want := asJSON(t, one.Value), asJSON(t, shown); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestOldAndNewRecordsCompareByField(t *testing.T) {
	r, _ := newReader(t, startKafka(t, publishtest.KafkaOptions{}), publish.KafkaOptions{})
	was, oldSchema, err := r.Fields(t.Context(), shiftRecord(t, 1<<40, "a", schemas.Value2018("slots")).Value)
	if err != nil {
		t.Fatal(err)
	}
	is, newSchema, err := r.Fields(t.Context(), shiftRecord(t, 1<<40, "b", schemas.Value("slots")).Value)
	if err != nil || oldSchema != 3 || newSchema != 2 {
		t.Fatalf("got schemas %d and %d, error %v", oldSchema, newSchema, err)
	}
	var changed []string
	for name := range was {
		if !reflect.DeepEqual(was[name], is[name]) {
			changed = append(changed, name)
		}
	}
	if !slices.Equal(changed, []string{"notes"}) || len(was) != 26 || len(is) != 34 {
		t.Errorf("got %v changed of %d and %d fields", changed, len(was), len(is))
	}
	if is["id"] != json.Number("1099511627776") || is["acknowledged_at"] != was["acknowledged_at"] {
		t.Errorf("got id %v, acknowledged_at %v and %v", is["id"], is["acknowledged_at"], was["acknowledged_at"])
	}
}

func TestARecordThatCannotBeDecodedIsAnErrorOfItsOwn(t *testing.T) {
	c := startKafka(t, publishtest.KafkaOptions{})
	r, fake := newReader(t, c, publish.KafkaOptions{})
	fake.SeedSchema("word", 1, 7, sr.Schema{Schema: `"string"`})
	fake.SeedSchema("proto", 1, 8, sr.Schema{Schema: `syntax = "proto3";`, Type: sr.TypeProtobuf})
	good := shiftRecord(t, 5, "private note", schemas.Value("slots"))
	key := good.Key
	cl := client(t, c)
	for _, bad := range []struct {
		key, value []byte
		says       string
	}{
		{key, []byte("private note"), "value: not in Confluent's wire format"},
		{key, []byte{}, "value: not in Confluent's wire format"},
		{key, []byte{0, 0, 0, 0, 99, 1}, "value: schema 99: "},
		{key, []byte{0, 0xff, 0, 0, 0, 1}, "value: its schema id cannot be"},
		{key, good.Value[:len(good.Value)-1], "value: schema 2: the bytes do not fit it"},
		{key, append(slices.Clone(good.Value), 0), "value: schema 2: 1 bytes are left over"},
		{key, append([]byte{0, 0, 0, 0, 7, 24}, "private note"...), "value: schema 7: it is not a record"},
		{key, []byte{0, 0, 0, 0, 8, 0}, "value: schema 8: it is PROTOBUF, not Avro"},
		{nil, good.Value, "key: not in Confluent's wire format"},
		{[]byte("k"), []byte("v"), "key: not in Confluent's wire format; value: not in Confluent's wire format"},
	} {
		produce(t, cl, &kgo.Record{Key: bad.key, Value: bad.value}, kgoRecord(good))
		got := follow(t, r, publish.Beginning())
		last, next := got[len(got)-2], got[len(got)-1]
		if last.Err == nil || !strings.HasPrefix(last.Err.Error(), bad.says) || strings.Contains(last.Err.Error(), "private") {
			t.Errorf("got %v, want %s", last.Err, bad.says)
		}
		if _, err := r.At(t.Context(), 0, last.Offset); err == nil || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("At: got %v, want %s", err, bad.says)
		}
		if next.Err != nil || next.Value["notes"] != "private note" {
			t.Errorf("the record behind it: got %+v", next)
		}
	}
}

func TestASchemaIsAskedForOnce(t *testing.T) {
	c := startKafka(t, publishtest.KafkaOptions{})
	r, fake := newReader(t, c, publish.KafkaOptions{})
	cl := client(t, c)
	unknown := &kgo.Record{Key: shiftRecord(t, 1, "", schemas.Value("slots")).Key, Value: []byte{0, 0, 0, 0, 99, 1}}
	produce(t, cl, kgoRecord(shiftRecord(t, 1, "a", schemas.Value("slots"))), kgoRecord(shiftRecord(t, 1, "b", schemas.Value("slots"))), unknown)
	produce(t, cl, unknown)
	asked := countRequests(fake)
	follow(t, r, publish.Beginning())
	follow(t, r, publish.Beginning())
	if got := asked(); got != 3 { // key, value, and the one that is not there
		t.Errorf("asked %d times, want 3", got)
	}
}

func TestAStopWhileTheRegistryHangsSaysNothingOfTheSchema(t *testing.T) {
	c := startKafka(t, publishtest.KafkaOptions{})
	r, fake := newReader(t, c, publish.KafkaOptions{})
	value := shiftRecord(t, 1, "a", schemas.Value("slots")).Value
	ctx, cancel := context.WithCancel(t.Context())
	fake.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		if ctx.Err() != nil {
			return false
		}
		cancel()
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	if _, _, err := r.Fields(ctx, value); err == nil {
		t.Fatal("got no error")
	}
	if _, _, err := r.Fields(t.Context(), value); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestControlBatchesAreStepped(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{}, func(t *testing.T, c *cluster) {
		cl := client(t, c, kgo.TransactionalID("other "+c.topic))
		for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
			if err := cl.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			produce(t, cl, kgoRecord(shiftRecord(t, 1, "in a transaction", schemas.Value("slots"))))
			if err := cl.EndTransaction(t.Context(), end); err != nil {
				t.Fatal(err)
			}
		}
		// Offsets 1 and 3 are control records, and 3 is the last of the log.
		r, _ := newReader(t, c, publish.KafkaOptions{})
		if got, want := offsets(follow(t, r, publish.Beginning())), []int64{0, 2}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if _, err := r.At(t.Context(), 0, 1); !errors.Is(err, publish.ErrGone) {
			t.Errorf("a control record: got %v, want ErrGone", err)
		}
	})
}

func TestWhatCompactionTookIsGone(t *testing.T) {
	c := startKafka(t, publishtest.KafkaOptions{TopicSettings: map[string]string{"cleanup.policy": "compact", "segment.bytes": "2000", "min.cleanable.dirty.ratio": "0"}})
	cl := client(t, c)
	const n = 40
	for i := range n {
		produce(t, cl, kgoRecord(shiftRecord(t, int64(i%2), fmt.Sprint("v", i), schemas.Value("slots"))))
	}
	c.Compact()
	r, _ := newReader(t, c, publish.KafkaOptions{})
	got := follow(t, r, publish.Beginning())
	if len(got) == 0 || len(got) >= n {
		t.Fatalf("%d of %d records are left: nothing was compacted", len(got), n)
	}
	for i := range int64(n) {
		_, err := r.At(t.Context(), 0, i)
		if there := slices.Contains(offsets(got), i); there != (err == nil) || !there && !errors.Is(err, publish.ErrGone) {
			t.Errorf("offset %d, which is there: %v: got %v", i, there, err)
		}
	}
}

func TestWhereThereIsNothing(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{}, func(t *testing.T, c *cluster) {
		mustPublish(t, startProducerOf(t, c), shiftRecords(t, "a", "b"))
		r, _ := newReader(t, c, publish.KafkaOptions{Limit: 3 * time.Second})
		for _, at := range []struct {
			partition int
			offset    int64
			gone      bool
		}{{0, -1, true}, {0, -2, true}, {0, 2, true}, {0, 1 << 40, true}, {1, 0, false}} {
			_, err := r.At(t.Context(), at.partition, at.offset)
			if err == nil || errors.Is(err, publish.ErrGone) != at.gone {
				t.Errorf("partition %d, offset %d: got %v", at.partition, at.offset, err)
			}
		}
	})
}

// startProducerOf returns a producer that knows the topic and has begun.
func startProducerOf(t testing.TB, c *cluster) *publish.Kafka {
	t.Helper()
	k := startProducer(t, c, c.fenced())
	if _, err := k.Topic(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

// more than are read at once
func TestStarts(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{Partitions: 40}, func(t *testing.T, c *cluster) {
		cl := client(t, c)
		began := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
		const n = 20 // each in a partition of its own, which are more than are read at once, too
		var all []string
		for i := range n {
			rec := kgoRecord(shiftRecord(t, 1, fmt.Sprintf("%02d", i), schemas.Value("slots")))
			rec.Timestamp, rec.Partition = began.Add(time.Duration(i)*time.Minute), int32(2*i)
			produce(t, cl, rec)
			all = append(all, fmt.Sprintf("%02d", i))
		}
		r, _ := newReader(t, c, publish.KafkaOptions{})
		for _, s := range []struct {
			claim string
			from  publish.Start
			want  []string
		}{
			{"the beginning", publish.Beginning(), all},
			{"the end", publish.End(), nil},
			{"a time", publish.Since(began.Add(5*time.Minute - time.Second)), all[5:]},
			{"the time of a record", publish.Since(began.Add(19 * time.Minute)), all[19:]},
			{"a time behind all", publish.Since(began.Add(20 * time.Minute)), nil},
			{"a time before all clocks", publish.Since(time.Time{}), all},
		} {
			got := notes(follow(t, r, s.from))
			slices.Sort(got)
			if !slices.Equal(got, s.want) {
				t.Errorf("%s: got %v, want %v", s.claim, got, s.want)
			}
		}
	})
}

func TestFollowGoesOn(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{Partitions: 2}, func(t *testing.T, c *cluster) {
		k := startProducerOf(t, c)
		mustPublish(t, k, shiftRecords(t, "before"))
		r, _ := newReader(t, c, publish.KafkaOptions{})
		enough := errors.New("enough")
		var got []string
		err := r.Follow(t.Context(), publish.Beginning(), false, func(d publish.Decoded) error {
			if got = append(got, fmt.Sprint(d.Value["notes"])); len(got) == 3 {
				return enough
			}
			mustPublish(t, k, shiftRecords(t, fmt.Sprint("later ", len(got))))
			return nil
		})
		if want := []string{"before", "later 1", "later 2"}; !errors.Is(err, enough) || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = r.Follow(ctx, publish.Beginning(), false, func(publish.Decoded) error { cancel(); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v after a cancel", err)
		}
	})
}

func TestFollowStopsAtAnError(t *testing.T) {
	c := startKafka(t, publishtest.KafkaOptions{Partitions: 12})
	cl := client(t, c)
	for i := range 48 {
		rec := kgoRecord(shiftRecord(t, int64(i), "", schemas.Value("slots")))
		rec.Partition = int32(i % 12)
		produce(t, cl, rec)
	}
	r, _ := newReader(t, c, publish.KafkaOptions{})
	enough := errors.New("enough")
	for range 30 {
		calls := 0
		err := r.Follow(t.Context(), publish.Beginning(), false, func(publish.Decoded) error {
			calls++
			<-time.After(2 * time.Millisecond) // by then the others wait, and get their turn at once
			if calls < 4 {
				return nil
			}
			return enough
		})
		if calls != 4 || !errors.Is(err, enough) {
			t.Fatalf("called %d times, want 4; error %v", calls, err)
		}
	}
}

func TestFollowOutlivesALeaderAndRetention(t *testing.T) {
	c := startKafka(t, publishtest.KafkaOptions{Brokers: 2})
	mustPublish(t, startProducerOf(t, c), shiftRecords(t, "a", "b", "c"))
	var notices []string
	r, _ := newReader(t, c, publish.KafkaOptions{OnNotice: func(text string) { notices = append(notices, text) }})
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: kerr.NotLeaderForPartition, Count: 2})
	if got, want := notes(follow(t, r, publish.Beginning())), []string{"a", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("after two refusals: got %v, want %v", got, want)
	}
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: kerr.OffsetOutOfRange, Count: 1})
	if got, want := notes(follow(t, r, publish.Beginning())), []string{"a", "b", "c"}; !slices.Equal(got, want) || len(notices) != 1 {
		t.Errorf("after retention: got %v, want %v; notices %q", got, want, notices)
	}
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: kerr.TopicAuthorizationFailed, Count: 1})
	if _, err := r.At(t.Context(), 0, 0); err == nil || !strings.Contains(err.Error(), "the right Read") {
		t.Errorf("without the right to read: got %v", err)
	}
}

// logBatch is a batch as it lies in a log: the records that compaction left of it, by what they lie behind its base.
func logBatch(base int64, lastDelta int32, left map[int]shiftsync.Record) []byte {
	b := kmsg.NewRecordBatch()
	b.FirstOffset, b.Magic, b.LastOffsetDelta, b.NumRecords, b.ProducerID = base, 2, lastDelta, int32(len(left)), 77
	for delta := range int(lastDelta) + 1 {
		r, ok := left[delta]
		if !ok {
			continue
		}
		rec := kmsg.NewRecord()
		rec.OffsetDelta, rec.Key, rec.Value = int32(delta), r.Key, r.Value
		rec.Length = int32(len(rec.AppendTo(nil)) - 1) // without the one byte of a zero length
		b.Records = rec.AppendTo(b.Records)
	}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	b.CRC = int32(crc32.Checksum(b.AppendTo(nil)[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}

// serve answers fetches from the batches, as a broker does: beginning with the one that the offset lies in.
func serve(c *cluster, end int64, batches ...[]byte) {
	c.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked := req.(*kmsg.FetchRequest)
		res := asked.ResponseKind().(*kmsg.FetchResponse)
		p := kmsg.NewFetchResponseTopicPartition()
		p.HighWatermark = end
		for _, b := range batches {
			var batch kmsg.RecordBatch
			if err := batch.ReadFrom(b); err != nil {
				panic(err)
			}
			room := int32(len(p.RecordBatches)+len(b)) <= asked.MaxBytes
			if batch.FirstOffset+int64(batch.LastOffsetDelta) >= asked.Topics[0].Partitions[0].FetchOffset && (room || len(p.RecordBatches) == 0) {
				p.RecordBatches = append(p.RecordBatches, b...)
			}
		}
		one := kmsg.NewFetchResponseTopic()
		one.Topic, one.Partitions = topic, append(one.Partitions, p)
		res.Topics = append(res.Topics, one)
		return res, nil, true
	})
	c.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked := req.(*kmsg.ListOffsetsRequest)
		res := asked.ResponseKind().(*kmsg.ListOffsetsResponse)
		p := kmsg.NewListOffsetsResponseTopicPartition()
		p.Offset = end
		if asked.Topics[0].Partitions[0].Timestamp == -2 {
			p.Offset = 0
		}
		one := kmsg.NewListOffsetsResponseTopic()
		one.Topic, one.Partitions = topic, append(one.Partitions, p)
		res.Topics = append(res.Topics, one)
		return res, nil, true
	})
}

func TestABatchWithNothingAtItsEndIsStepped(t *testing.T) {
	a, b := shiftRecord(t, 1, "a", schemas.Value("slots")), shiftRecord(t, 2, "b", schemas.Value("slots"))
	for _, s := range []struct {
		claim   string
		end     int64
		batches [][]byte
		want    []int64
	}{
		{"a hole inside", 5, [][]byte{logBatch(0, 4, map[int]shiftsync.Record{0: a, 4: b})}, []int64{0, 4}},
		{"nothing at the end, and no batch behind it", 20, [][]byte{logBatch(0, 19, map[int]shiftsync.Record{3: a})}, []int64{3}},
		{"nothing at the end, and another behind it", 30, [][]byte{logBatch(0, 19, map[int]shiftsync.Record{3: a}), logBatch(20, 9, map[int]shiftsync.Record{9: b})}, []int64{3, 29}},
		{"emptied, and kept for its producer", 12, [][]byte{logBatch(0, 4, nil), logBatch(5, 4, nil), logBatch(10, 1, map[int]shiftsync.Record{1: b})}, []int64{11}},
		{"nothing but emptied ones", 10, [][]byte{logBatch(0, 4, nil), logBatch(5, 4, nil)}, nil},
		{"more than stood there at first", 2, [][]byte{logBatch(0, 4, map[int]shiftsync.Record{0: a, 1: b, 4: b})}, []int64{0, 1}},
		{"whole batches are missing", 12, [][]byte{logBatch(10, 1, map[int]shiftsync.Record{1: b})}, []int64{11}},
	} {
		t.Run(s.claim, func(t *testing.T) {
			c := startKafka(t, publishtest.KafkaOptions{})
			serve(c, s.end, s.batches...)
			r, _ := newReader(t, c, publish.KafkaOptions{})
			if got := offsets(follow(t, r, publish.Beginning())); !slices.Equal(got, s.want) {
				t.Errorf("got %v, want %v", got, s.want)
			}
			for offset := range s.end {
				_, err := r.At(t.Context(), 0, offset)
				if there := slices.Contains(s.want, offset); there != (err == nil) || !there && !errors.Is(err, publish.ErrGone) {
					t.Errorf("offset %d, which is there: %v: got %v", offset, there, err)
				}
			}
		})
	}
}

func TestAnEncoderShowsItsOwnRecordsAsTheReaderDoes(t *testing.T) {
	r, fake := newReader(t, startKafka(t, publishtest.KafkaOptions{}), publish.KafkaOptions{})
	a := newAvro(t, fake.Handler(), "slots", publish.AvroOptions{})
	if _, err := a.Fields(nil); err == nil {
		t.Error("before it has a schema: got no error")
	}
	prepare(t, a)
	for name, s := range shapes(t) {
		var record shiftsync.Record
		if _, err := a.Encode(&s, nil, &record); err != nil {
			t.Fatal(err)
		}
		want, _, err := r.Fields(t.Context(), record.Value)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := a.Fields(record.Value); err != nil || asJSON(t, got) != asJSON(t, want) {
			t.Errorf("%s: got %s, %v\nwant %s", name, asJSON(t, got), err, asJSON(t, want))
		}
	}
	if _, err := a.Fields([]byte{0, 0}); err == nil {
		t.Error("of no record: got no error")
	}
}
