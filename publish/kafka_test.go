package publish_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/publish/publishtest"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// The embedded broker fences all partitions at once and lets a renewal with an old epoch pass; real ones do neither.
// So a fenced renewal is provoked by the broker's code here.

const topic = "shifts"

// cluster is one to test on, with a topic of the test's own.
type cluster struct {
	*publishtest.Kafka // that runs inside the process; nil: it is a real one
	Addrs              []string
	topic              string
}

func startKafka(t testing.TB, o publishtest.KafkaOptions) *cluster {
	t.Helper()
	if o.Topic == "" {
		o.Topic = topic
	}
	c, err := publishtest.StartKafka(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &cluster{c, c.Addrs, o.Topic}
}

// newProducer returns a producer that has not begun.
func newProducer(t testing.TB, c *cluster, o publish.KafkaOptions) *publish.Kafka {
	t.Helper()
	if o.Limit == 0 {
		o.Limit = 10 * time.Second
	}
	k, err := publish.NewKafka(c.Addrs, c.topic, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// startProducer returns one that has taken over.
func startProducer(t testing.TB, c *cluster, o publish.KafkaOptions) *publish.Kafka {
	t.Helper()
	k := newProducer(t, c, o)
	if err := k.Begin(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	return k
}

var fenced = publish.KafkaOptions{TransactionalID: "slotsync-" + topic}

// right is a hold that lasts until it is ended.
type right struct{ err atomic.Pointer[error] }

func (r *right) Err() error {
	if err := r.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (r *right) end() { err := shiftsync.ErrLeaseLost; r.err.Store(&err) }

func versions(values ...string) []shiftsync.Record {
	records := make([]shiftsync.Record, len(values))
	for i, v := range values {
		records[i] = record(i, v)
	}
	return records
}

func record(id int, value string) shiftsync.Record {
	r := shiftsync.Record{ID: int64(id), Key: fmt.Appendf(nil, "key-%d", id), Value: []byte(value)}
	r.Fingerprint = shiftsync.FingerprintOf(r.Value)
	return r
}

func fates(outcomes []shiftsync.Outcome) []shiftsync.Fate {
	var got []shiftsync.Fate
	for _, o := range outcomes {
		got = append(got, o.Fate)
	}
	return got
}

func all(fate shiftsync.Fate, n int) []shiftsync.Fate {
	return slices.Repeat([]shiftsync.Fate{fate}, n)
}

func mustPublish(t testing.TB, k *publish.Kafka, records []shiftsync.Record) []shiftsync.Outcome {
	t.Helper()
	outcomes, err := k.Publish(t.Context(), &right{}, "pass", records)
	if got, want := fates(outcomes), all(shiftsync.Acknowledged, len(records)); err != nil || !slices.Equal(got, want) {
		t.Fatalf("publish: fates %v, error %v", got, err)
	}
	return outcomes
}

func read(t testing.TB, c *cluster) []publishtest.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got, err := publishtest.ReadAll(ctx, c.Addrs, c.topic)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func values(messages []publishtest.Message) []string {
	got := []string{}
	for _, m := range messages {
		got = append(got, string(m.Value))
	}
	return got
}

func wantLog(t testing.TB, c *cluster, want ...string) {
	t.Helper()
	if got := values(read(t, c)); !slices.Equal(got, want) {
		t.Errorf("the log holds %q, want %q", got, want)
	}
}

// requests collects the requests of a kind that reach the broker.
type requests[T kmsg.Request] struct {
	mu   sync.Mutex // guards seen
	seen []T
}

func watch[T kmsg.Request](c *cluster, key kmsg.Key) *requests[T] {
	w := &requests[T]{}
	c.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen = append(w.seen, req.(T))
		return nil, nil, false
	})
	return w
}

func (w *requests[T]) all() []T {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

func fault(err *kerr.Error, count int) kfake.Fault {
	return kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: err, Count: count}
}

func within(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: not within 10 s", what)
	}
}

func TestWhatIsPublishedIsReadByOthers(t *testing.T) {
	for compression, code := range map[string]byte{"": 0, "none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4} {
		t.Run("compression "+compression, func(t *testing.T) {
			t.Parallel()
			c := startKafka(t, publishtest.KafkaOptions{Partitions: 3})
			k := startProducer(t, c, publish.KafkaOptions{TransactionalID: "id", Compression: compression})
			produced := watch[*kmsg.ProduceRequest](c, kmsg.Produce)
			var records []shiftsync.Record
			for i := range 300 {
				// Some are larger than the pages that the library writes batches in.
				records = append(records, record(i, strings.Repeat(fmt.Sprint("value ", i, " "), 1+i%7*i)))
			}
			records[5].Value = nil
			records[6].Value = []byte{}
			began := time.Now()
			outcomes := mustPublish(t, k, records[:150])
			outcomes = append(outcomes, mustPublish(t, k, records[150:])...)

			byPlace := make(map[[2]int64]publishtest.Message)
			for _, m := range read(t, c) {
				byPlace[[2]int64{int64(m.Partition), m.Offset}] = m
			}
			if len(byPlace) != len(records) {
				t.Fatalf("read %d records, want %d", len(byPlace), len(records))
			}
			for i, r := range records {
				m := byPlace[[2]int64{int64(outcomes[i].Partition), outcomes[i].Offset}]
				if string(m.Key) != string(r.Key) || string(m.Value) != string(r.Value) || (m.Value == nil) != (r.Value == nil) {
					t.Errorf("record %d: read key %q and %d bytes of value", i, m.Key, len(m.Value))
				}
				if m.Headers["slotsync-pass"] != "pass" || m.Headers["slotsync-hash"] != r.Fingerprint.String() || len(m.Headers) != 2 {
					t.Errorf("record %d: read headers %q", i, m.Headers)
				}
				if m.Time.Before(began.Truncate(time.Millisecond)) || m.Time.After(time.Now()) {
					t.Errorf("record %d: read time %s", i, m.Time)
				}
			}
			wantDecoded(t, c, len(records))
			for _, r := range produced.all() {
				if got := r.Topics[0].Partitions[0].Records[22] & 7; got != code {
					t.Errorf("sent with compression %d, want %d", got, code)
				}
			}
		})
	}
}

// wantDecoded reads with the library that the batches are sent with.
func wantDecoded(t *testing.T, c *cluster, want int) {
	t.Helper()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(c.Addrs...), Transport: transport, Timeout: 10 * time.Second}
	got := 0
	for partition := range 3 {
		res, err := client.Fetch(t.Context(), &kafka.FetchRequest{Topic: topic, Partition: partition, MinBytes: 1, MaxBytes: 10 << 20, MaxWait: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for {
			_, err := res.Records.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got++
		}
	}
	if got != want {
		t.Errorf("kafka-go decodes %d records, want %d", got, want)
	}
}

func TestMuchForOnePartitionGoesInOrder(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{Partitions: 3})
	produced := watch[*kmsg.ProduceRequest](c, kmsg.Produce)
	k := startProducer(t, c, publish.KafkaOptions{Partition: shiftsync.Some(2)})
	var records []shiftsync.Record
	for i := range 3000 {
		records = append(records, record(i, fmt.Sprint(i, strings.Repeat(".", 1000))))
	}
	mustPublish(t, k, records)
	got := read(t, c)
	if len(got) != len(records) {
		t.Fatalf("read %d records, want %d", len(got), len(records))
	}
	for i, m := range got {
		if m.Partition != 2 || string(m.Key) != string(records[i].Key) {
			t.Fatalf("at %d/%d is %s, want %s", m.Partition, m.Offset, m.Key, records[i].Key)
		}
	}
	if n := len(produced.all()); n < 4 {
		t.Errorf("sent %d batches for 3 MB", n)
	}
	for _, r := range produced.all() {
		if n := len(r.Topics[0].Partitions[0].Records); n > 900_000 {
			t.Errorf("sent a batch of %d bytes", n)
		}
	}
}

func TestKeysGoWhereJavaPutsThem(t *testing.T) {
	t.Parallel()
	const partitions = 7
	c := startKafka(t, publishtest.KafkaOptions{Partitions: partitions})
	k := startProducer(t, c, fenced)
	java := kgo.StickyKeyPartitioner(nil).ForTopic(topic)
	var records []shiftsync.Record
	for i := range 10_000 {
		r := record(i, "v")
		r.Key = append([]byte{0, 0, 0, 0, byte(i % 3)}, r.Key[:len(r.Key)-i%4]...)
		records = append(records, r)
	}
	for i, o := range mustPublish(t, k, records) {
		if want := java.Partition(&kgo.Record{Key: records[i].Key}, partitions); o.Partition != want {
			t.Fatalf("key %q went to %d, want %d", records[i].Key, o.Partition, want)
		}
	}
}

func TestSequenceAfterTheLargestIsZero(t *testing.T) {
	for _, c := range []struct {
		sequence int32
		n        int
		want     int32
	}{
		{0, 500, 500},
		{math.MaxInt32 - 1, 1, math.MaxInt32},
		{math.MaxInt32, 1, 0},
		{math.MaxInt32 - 1, 5, 3},
	} {
		if got := publish.NextSequence(c.sequence, c.n); got != c.want {
			t.Errorf("after %d and %d records comes %d, want %d", c.sequence, c.n, got, c.want)
		}
	}
}

func TestLostAnswerRepeatsNothing(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{}, func(t *testing.T, c *cluster) {
		proxy := publishtest.NewProxy()
		t.Cleanup(proxy.Close)
		k := startProducer(t, c, publish.KafkaOptions{TransactionalID: c.fenced().TransactionalID, Dial: proxy.Dial, Attempt: 200 * time.Millisecond})
		mustPublish(t, k, versions("a0"))
		held := proxy.Catch(publishtest.Answer, 0, 2)
		outcomes := mustPublish(t, k, versions("a1", "b1"))
		within(t, "answers held back", held.Caught())
		if outcomes[0].Offset != 1 || outcomes[1].Offset != 2 {
			t.Errorf("offsets %d and %d, want 1 and 2", outcomes[0].Offset, outcomes[1].Offset)
		}
		mustPublish(t, k, versions("a2"))
		held.Release()
		mustPublish(t, k, versions("a3"))
		wantLog(t, c, "a0", "a1", "b1", "a2", "a3")
	})
}

func TestRepeatedAttemptsSendTheSameBytes(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{})
	k := startProducer(t, c, publish.KafkaOptions{TransactionalID: "id", Compression: "lz4"})
	produced := watch[*kmsg.ProduceRequest](c, kmsg.Produce)
	// The first of these is answered by the broker after it has appended.
	c.Fault(fault(kerr.RequestTimedOut, 1), fault(kerr.NotLeaderForPartition, 1), fault(kerr.NotEnoughReplicas, 1))
	mustPublish(t, k, versions("a", "b"))
	sent := produced.all()
	if len(sent) != 4 {
		t.Fatalf("%d attempts, want 4", len(sent))
	}
	if got := sent[0].Acks; got != -1 {
		t.Errorf("asked for acks %d, want -1, from all replicas in sync", got)
	}
	for i, r := range sent[1:] {
		if got, want := r.Topics[0].Partitions[0].Records, sent[0].Topics[0].Partitions[0].Records; string(got) != string(want) {
			t.Errorf("attempt %d sent other bytes than the first", i+2)
		}
	}
	wantLog(t, c, "a", "b")
}

// slowConn holds back what is written to it at once in large pieces, until resume is closed, and forgets all deadlines. It
// does nothing that would order its writer with other goroutines: the race detector sees only what is not ordered.
type slowConn struct {
	net.Conn
	resume chan struct{}
}

func (c *slowConn) Write(b []byte) (int, error) {
	if len(b) > 1000 { // only batches are so long
		<-c.resume
	}
	return c.Conn.Write(b)
}

func (*slowConn) SetDeadline(time.Time) error      { return nil }
func (*slowConn) SetWriteDeadline(time.Time) error { return nil }

// An attempt that was given up may read its batch while another one succeeds and the next batch is formed. The library
// copies a batch so fast that only the race detector can tell.
func TestABatchThatIsStillBeingReadIsNotOverwritten(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{})
	resume := make(chan struct{})
	var slow atomic.Bool
	slow.Store(true)
	k := startProducer(t, c, publish.KafkaOptions{
		TransactionalID: "id", Attempt: 300 * time.Millisecond,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if err != nil || !slow.Load() {
				return conn, err
			}
			return &slowConn{conn, resume}, nil
		},
	})
	slow.Store(false)
	produced := watch[*kmsg.ProduceRequest](c, kmsg.Produce)
	mustPublish(t, k, versions(strings.Repeat("a", 500_000)))
	mustPublish(t, k, versions(strings.Repeat("b", 500_000)))
	close(resume)
	for began := time.Now(); len(produced.all()) < 3; {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%d requests have arrived, want 3: two attempts and another batch", len(produced.all()))
		}
		<-time.After(10 * time.Millisecond)
	}
	sent := produced.all()
	late, first := sent[2].Topics[0].Partitions[0].Records, sent[0].Topics[0].Partitions[0].Records
	if string(late) != string(first) {
		t.Error("the first attempt's bytes changed while it was sent")
	}
	wantLog(t, c, strings.Repeat("a", 500_000), strings.Repeat("b", 500_000))
}

// shortRight ends after it was looked at once.
type shortRight struct{ looks atomic.Int32 }

func (r *shortRight) Err() error {
	if r.looks.Add(1) > 1 {
		return shiftsync.ErrLeaseLost
	}
	return nil
}

func TestPastTheHoldNothingIsSent(t *testing.T) {
	t.Parallel()
	ended := &right{}
	ended.end()
	for name, hold := range map[string]shiftsync.Hold{
		"ended before": ended,
		"ended while the connection is being made": &shortRight{},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startKafka(t, publishtest.KafkaOptions{})
			k := startProducer(t, c, fenced)
			produced := watch[*kmsg.ProduceRequest](c, kmsg.Produce)
			outcomes, err := k.Publish(t.Context(), hold, "pass", versions("a", "b"))
			if got, want := fates(outcomes), all(shiftsync.Unsent, 2); !errors.Is(err, shiftsync.ErrLeaseLost) || !slices.Equal(got, want) {
				t.Errorf("fates %v, error %v, want %v and the hold's error", got, err, want)
			}
			if n := len(produced.all()); n != 0 {
				t.Errorf("sent %d batches", n)
			}
		})
	}
	t.Run("ended between attempts", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{})
		k := startProducer(t, c, fenced)
		hold := &right{}
		f := fault(kerr.NotLeaderForPartition, -1)
		f.When = func(kmsg.Request) bool { hold.end(); return true }
		attempts := c.Fault(f)
		outcomes, err := k.Publish(t.Context(), hold, "pass", versions("a"))
		if got, want := fates(outcomes), all(shiftsync.Unknown, 1); !errors.Is(err, shiftsync.ErrLeaseLost) || !slices.Equal(got, want) {
			t.Errorf("fates %v, error %v, want %v and the hold's error", got, err, want)
		}
		if n := attempts.Hits(); n != 1 {
			t.Errorf("%d attempts, want 1", n)
		}
	})
}

func TestGivenUpPartitionWaitsForBegin(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{Partitions: 2})
	k := startProducer(t, c, fenced)
	records := versions("0", "1", "2", "3", "4", "5", "6", "7")
	where := mustPublish(t, k, records)
	broken := fault(kerr.OutOfOrderSequenceNumber, 1)
	broken.Partitions = []int32{0}
	c.Fault(broken)
	for try, want := range []shiftsync.Fate{shiftsync.Unknown, shiftsync.Unsent} {
		outcomes, err := k.Publish(t.Context(), &right{}, "pass", records)
		if err == nil || !strings.Contains(err.Error(), topic+"/0") {
			t.Errorf("call %d: error %v, want one that names the partition", try, err)
		}
		for i, o := range outcomes {
			fate := shiftsync.Acknowledged
			if where[i].Partition == 0 {
				fate = want
			}
			if o.Fate != fate {
				t.Errorf("call %d: record %d of partition %d: fate %v, want %v", try, i, o.Partition, o.Fate, fate)
			}
		}
	}
	if err := k.Begin(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, k, records)
}

func TestMovedLeaderIsFound(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{Brokers: 3})
	k := startProducer(t, c, fenced)
	mustPublish(t, k, versions("a"))
	began := time.Now()
	all := []string{"a"}
	for _, v := range []string{"b", "c", "d", "e", "f", "g"} {
		if err := c.MoveTopicPartition(topic, 0, (c.LeaderFor(topic, 0)+1)%3); err != nil {
			t.Fatal(err)
		}
		mustPublish(t, k, versions(v))
		all = append(all, v)
	}
	wantLog(t, c, all...)
	if took := time.Since(began); took > 5*time.Second { // six times what the library takes by itself would be longer
		t.Errorf("six leaders were found within %s: the old one's word that it is none was not used", took)
	}
}

func TestCloseLeavesNothingRunning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	c, err := publishtest.StartKafka(publishtest.KafkaOptions{Topic: topic, Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	proxy := publishtest.NewProxy()
	var mu sync.Mutex // guards conns
	var conns []net.Conn
	k, err := publish.NewKafka(c.Addrs, topic, publish.KafkaOptions{
		Attempt: time.Minute, Limit: 200 * time.Millisecond,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := proxy.Dial(ctx, network, address)
			mu.Lock()
			defer mu.Unlock()
			conns = append(conns, conn)
			return conn, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Begin(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	held := proxy.Catch(publishtest.Answer, 0, 100)
	if _, err := k.Publish(t.Context(), &right{}, "pass", versions("a", "b", "c", "d")); err == nil {
		t.Error("no error without answers")
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	for _, conn := range conns {
		if _, err := conn.Write([]byte{0}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a connection is left open: %v", err)
		}
	}
	if len(conns) < 2 {
		t.Errorf("only %d connections were made", len(conns))
	}
	mu.Unlock()
	held.Release()
	proxy.Close()
	c.Close()
	goleak.VerifyNone(t, before)
}

func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{500, 3000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c := startKafka(b, publishtest.KafkaOptions{Partitions: 6, Discard: true})
			k := startProducer(b, c, fenced)
			var records []shiftsync.Record
			for i := range size {
				records = append(records, record(i, strings.Repeat("v", 300)))
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				mustPublish(b, k, records)
				n += size
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
