package publish_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/publish/publishtest"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// The promise on a cluster that loses and finds its parts. It takes some three minutes and a gigabyte.
func TestNothingIsLostReorderedOrRepeatedOnRealBrokers(t *testing.T) {
	b := startBrokers(t)
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "scenario\trecords\tseconds\ta second\tretries\tunknown\tunsent\trepeats\tepochs\t\n")
	var all figures
	for _, c := range []struct {
		name    string
		fault   func(t *testing.T, b *publishtest.Brokers, s *stream)
		reached func(f figures) bool // the fault was felt
	}{
		{"rolling restart", rollingRestart, func(f figures) bool { return f.retries > 0 }},
		{"too few in sync", tooFewInSync, func(f figures) bool { return f.retries > 0 && f.unknown+f.unsent > 0 }},
		{"a broker hangs", brokerHangs, func(f figures) bool { return f.unknown > 0 }},
		{"takeover", takenOver, func(f figures) bool { return f.unknown > 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			topic := strings.ReplaceAll(c.name, " ", "-")
			must(t, b.CreateTopic(t.Context(), topic, nil))
			s := startStream(t, b, topic)
			s.more(t, 10_000)
			c.fault(t, b, s)
			s.more(t, 20_000)
			s.finish(t)
			must(t, b.InSync(t.Context(), topic, len(b.Nodes)))
			f := s.compare(t, b)
			if t.Failed() {
				return
			}
			took := s.end.Sub(s.began).Seconds()
			fmt.Fprintf(w, "%s\t%d\t%.1f\t%.0f\t%d\t%d\t%d\t%d\t%d\t\n", c.name, f.records, took, float64(f.records)/took,
				f.retries, f.unknown, f.unsent, f.repeats, f.epochs)
			if f.unreadable > 0 {
				t.Errorf("%d requests could not be read: not all retries are counted", f.unreadable)
			}
			all.retries, all.unknown = all.retries+f.retries, all.unknown+f.unknown
			if !c.reached(f) {
				t.Errorf("nothing was lost, but the fault was not felt, so this showed nothing: %d retries, %d records unknown and %d unsent", f.retries, f.unknown, f.unsent)
			}
			if float64(f.records)/took < 1000 {
				t.Errorf("%d records in %.1f s, want 1000 a second", f.records, took)
			}
		})
	}
	if !t.Failed() && (all.retries == 0 || all.unknown == 0) {
		t.Errorf("%d retries and %d records unknown in all: this showed nothing", all.retries, all.unknown)
	}
	w.Flush()
	t.Logf("outcomes past the limit of %s:\n%s", passLimit, table.String())
}

// startBrokers starts a cluster that ends with the test.
func startBrokers(t *testing.T) *publishtest.Brokers {
	t.Helper()
	b, err := publishtest.StartBrokers(t.Context(), t.TempDir(), fromStack(t, "SLOTSYNC_TEST_KAFKA_JARS"))
	must(t, err)
	t.Cleanup(func() {
		b.Close()
		for i, n := range b.Nodes {
			if t.Failed() {
				t.Logf("the last errors of broker %d:\n%s", i+1, n.LastWords())
			}
		}
	})
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rollingRestart stops and starts each broker, as an update does.
func rollingRestart(t *testing.T, b *publishtest.Brokers, s *stream) {
	for _, n := range b.Nodes {
		must(t, n.Stop())
		must(t, b.InSync(t.Context(), s.topic, len(b.Nodes)-1)) // else who is asked next may not know yet that it was away
		must(t, n.Start())
		must(t, b.InSync(t.Context(), s.topic, len(b.Nodes)))
	}
}

// tooFewInSync leaves one broker, which is less than min.insync.replicas, and then brings the others back.
func tooFewInSync(t *testing.T, b *publishtest.Brokers, s *stream) {
	must(t, b.Nodes[2].Stop())
	must(t, b.InSync(t.Context(), s.topic, len(b.Nodes)-1))
	must(t, b.Nodes[1].Stop())
	s.waitFor(t, "records that are not taken", func(f figures) bool { return f.unknown+f.unsent > 0 })
	must(t, b.Nodes[1].Start())
	must(t, b.Nodes[2].Start())
	must(t, b.InSync(t.Context(), s.topic, len(b.Nodes)))
}

// brokerHangs pauses a broker for longer than the others wait for it, so that what it leads goes to them. It still has
// what was sent to it when it wakes up.
func brokerHangs(t *testing.T, b *publishtest.Brokers, s *stream) {
	n, err := b.Leader(t.Context(), s.topic)
	must(t, err)
	must(t, n.Signal(syscall.SIGSTOP))
	s.waitFor(t, "unknown outcomes", func(f figures) bool { return f.unknown > 0 })
	s.more(t, 10_000) // which others lead by now
	must(t, n.Signal(syscall.SIGCONT))
}

// takenOver holds back what the worker sends, has another one take over and write, and then lets go: too late.
func takenOver(t *testing.T, b *publishtest.Brokers, s *stream) {
	held := s.first.proxy.Catch(publishtest.Request, produceAPI, 1000)
	s.waitFor(t, "unknown outcomes", func(f figures) bool { return f.unknown > 0 })

	s.last = newWorker(t, b, s.ledger, "second")
	s.last.start(t)
	s.more(t, 10_000)
	if err := s.first.join(t); !errors.Is(err, shiftsync.ErrFenced) {
		t.Errorf("the first ended with %v, want that it is fenced", err)
	}
	held.Release()
}

const (
	produceAPI = 0
	passLimit  = 5 * time.Second // for one call of Publish
	batchSize  = 500
	hotKeys    = 500
	coldKeys   = 20_000
	perSecond  = 3000 // changes, of which half are of the hot keys
)

// stream is what changes all the time, and the workers that publish it.
type stream struct {
	*ledger
	topic       string
	first, last *worker
	began, end  time.Time
}

func startStream(t *testing.T, b *publishtest.Brokers, topic string) *stream {
	t.Helper()
	s := &stream{topic: topic, began: time.Now(), ledger: &ledger{
		topic: topic, newest: map[int]int{}, open: map[int]bool{}, fates: map[version]fate{}, sent: map[sequence]bool{},
		changed: make(chan struct{}, 1),
	}}
	s.first = newWorker(t, b, s.ledger, "first")
	s.last = s.first
	s.first.start(t)
	return s
}

// more waits until so many more records are acknowledged.
func (s *stream) more(t *testing.T, n int) {
	t.Helper()
	s.mu.Lock()
	n += s.figures.acknowledged
	s.mu.Unlock()
	s.waitFor(t, "more records", func(f figures) bool { return f.acknowledged >= n })
}

// finish ends the changes and waits until all are acknowledged.
func (s *stream) finish(t *testing.T) {
	t.Helper()
	close(s.last.finish)
	if err := s.last.join(t); err != nil {
		t.Fatalf("the worker ended with %v", err)
	}
	s.end = time.Now()
}

// compare reads the topic and returns what was counted.
func (s *stream) compare(t *testing.T, b *publishtest.Brokers) figures {
	t.Helper()
	messages, err := publishtest.ReadAll(t.Context(), b.Addrs, s.topic)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	told := 0
	complain := func(format string, args ...any) {
		if told++; told <= 10 {
			t.Errorf(format, args...)
		}
	}
	last, second, copies := map[int]int{}, map[int]bool{}, map[version]int{}
	for _, m := range messages {
		var v version
		if _, err := fmt.Sscanf(string(m.Value), "%d %d", &v.key, &v.number); err != nil {
			t.Fatal(err)
		}
		if v.number < last[v.key] {
			complain("key %d: version %d stands behind %d", v.key, v.number, last[v.key])
		}
		last[v.key] = v.number
		copies[v]++
		switch m.Headers["slotsync-pass"] {
		case "second":
			second[m.Partition] = true
		case "first":
			if second[m.Partition] {
				complain("partition %d: a record of the first worker stands behind one of the second", m.Partition)
			}
		}
	}
	for key, number := range s.newest {
		if last[key] != number {
			complain("key %d: the last is version %d, want %d", key, last[key], number)
		}
	}
	for v, f := range s.fates {
		if f.acknowledged > 0 && copies[v] == 0 {
			complain("key %d: version %d was acknowledged and is not there", v.key, v.number)
		}
	}
	for v, n := range copies {
		if f := s.fates[v]; n > f.acknowledged+f.unknown {
			complain("key %d: version %d is there %d times, acknowledged %d times and unknown %d times", v.key, v.number, n, f.acknowledged, f.unknown)
		}
		s.figures.repeats += n - 1
	}
	s.figures.records = len(messages)
	return s.figures
}

// ledger is what a worker would find in Redis: the newest version of each key, and which were not acknowledged.
type ledger struct {
	topic   string
	changed chan struct{} // holds one element after news of figures

	mu      sync.Mutex // guards what follows
	holder  string
	newest  map[int]int
	open    map[int]bool
	queue   []int // of open, without what is under way
	changes int
	fates   map[version]fate
	sent    map[sequence]bool
	figures figures
}

type version struct{ key, number int }

type fate struct{ acknowledged, unknown int }

type figures struct {
	records, repeats              int // in the topic
	acknowledged, unknown, unsent int // outcomes
	retries, epochs, unreadable   int
}

// sequence is what a broker knows a batch by.
type sequence struct {
	producer  int64
	epoch     int16
	partition int32
	first     int32
}

// waitFor waits until the figures are as wanted.
func (l *ledger) waitFor(t *testing.T, what string, done func(figures) bool) {
	t.Helper()
	late := time.After(3 * time.Minute)
	for {
		l.mu.Lock()
		f := l.figures
		l.mu.Unlock()
		if done(f) {
			return
		}
		select {
		case <-l.changed:
		case <-late:
			t.Fatalf("waiting for %s: gave up after a minute: %+v", what, f)
		}
	}
}

// claim makes a worker the one that changes and settles.
func (l *ledger) claim(holder string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holder, l.queue = holder, nil
	for key := range l.open {
		l.queue = append(l.queue, key)
	}
}

// change makes new versions of n keys.
func (l *ledger) change(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		l.changes++
		key := l.changes / 2 % hotKeys
		if l.changes%2 == 0 {
			key = hotKeys + l.changes/2%coldKeys
		}
		l.newest[key]++
		if !l.open[key] {
			l.open[key] = true
			l.queue = append(l.queue, key)
		}
	}
}

// take returns the newest versions of some open keys, and none to who is not the holder any more.
func (l *ledger) take(holder string) (records []shiftsync.Record, versions []version) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if holder != l.holder {
		return nil, nil
	}
	n := min(len(l.queue), batchSize)
	for _, key := range l.queue[:n] {
		v := version{key, l.newest[key]}
		r := record(key, fmt.Sprintf("%d %d %0200d", v.key, v.number, 0))
		records, versions = append(records, r), append(versions, v)
	}
	l.queue = l.queue[n:]
	return records, versions
}

// settle notes what became of them, and returns whether all were acknowledged.
func (l *ledger) settle(holder string, versions []version, outcomes []shiftsync.Outcome) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := true
	var again []int
	for i, v := range versions {
		f := l.fates[v]
		switch outcomes[i].Fate {
		case shiftsync.Acknowledged:
			f.acknowledged++
			l.figures.acknowledged++
		case shiftsync.Unknown:
			f.unknown++
			l.figures.unknown++
		default:
			l.figures.unsent++
		}
		l.fates[v] = f
		switch {
		case holder != l.holder: // what it did counts, what it believes does not
		case outcomes[i].Fate == shiftsync.Acknowledged && v.number == l.newest[v.key]:
			delete(l.open, v.key)
		default:
			again = append(again, v.key)
		}
		all = all && outcomes[i].Fate == shiftsync.Acknowledged
	}
	l.queue = append(again, l.queue...)
	select {
	case l.changed <- struct{}{}:
	default:
	}
	return all
}

// idle tells whether nothing has to be published, save what is under way.
func (l *ledger) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) == 0
}

// count notes the batches in a request: one whose number was seen before is a retry.
func (l *ledger) count(frame []byte) {
	name := int16(binary.BigEndian.Uint16(frame[12:])) // the client's, behind length, API, version and number of the request
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(int16(binary.BigEndian.Uint16(frame[6:])))
	body := frame[14+max(int(name), 0):]
	if req.IsFlexible() {
		body = body[1:] // no tags
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := req.ReadFrom(body); err != nil {
		l.figures.unreadable++
		return
	}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			b := p.Records
			s := sequence{int64(binary.BigEndian.Uint64(b[43:])), int16(binary.BigEndian.Uint16(b[51:])), p.Partition, int32(binary.BigEndian.Uint32(b[53:]))}
			if l.sent[s] {
				l.figures.retries++
			}
			l.sent[s] = true
		}
	}
}

// worker publishes what a ledger holds, as the core does: what was not acknowledged goes out again in a new epoch.
type worker struct {
	name     string
	ledger   *ledger
	producer *publish.Kafka
	proxy    *publishtest.Proxy
	stop     context.CancelFunc
	finish   chan struct{} // closed when there are no more changes
	done     chan struct{}
	err      error // valid once done is closed
}

func newWorker(t *testing.T, b *publishtest.Brokers, l *ledger, name string) *worker {
	t.Helper()
	w := &worker{name: name, ledger: l, proxy: publishtest.NewProxy(), finish: make(chan struct{}), done: make(chan struct{})}
	var err error
	w.producer, err = publish.NewKafka(b.Addrs, l.topic, publish.KafkaOptions{
		TransactionalID: "slotsync-" + l.topic, Dial: w.proxy.Dial, Attempt: 2 * time.Second, Limit: passLimit,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.proxy.Watch(produceAPI, l.count)
	return w
}

func (w *worker) start(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	go func() {
		defer close(w.done)
		w.err = w.run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-w.done
		_ = w.producer.Close()
		w.proxy.Close()
	})
}

// join waits for the worker's end.
func (w *worker) join(t *testing.T) error {
	t.Helper()
	select {
	case <-w.done:
		return w.err
	case <-time.After(time.Minute):
		t.Fatalf("the %s worker goes on after a minute", w.name)
		return nil
	}
}

func (w *worker) run(ctx context.Context) error {
	if err := w.begin(ctx, true); err != nil {
		return err
	}
	w.ledger.claim(w.name)
	began, changed, doubt := time.Now(), 0, false
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if doubt {
			switch err := w.begin(ctx, false); {
			case errors.Is(err, shiftsync.ErrFenced), ctx.Err() != nil:
				return err
			default:
				doubt = err != nil
			}
		}
		select {
		case <-w.finish:
			if w.ledger.idle() {
				return nil
			}
		default:
			due := int(time.Since(began).Seconds() * perSecond)
			w.ledger.change(due - changed)
			changed = due
		}
		if doubt || w.ledger.idle() {
			<-tick.C
			continue
		}
		records, versions := w.ledger.take(w.name)
		if len(records) == 0 {
			doubt = true // taken over: the broker will say so too
			continue
		}
		outcomes, err := w.producer.Publish(ctx, &right{}, w.name, records)
		doubt = !w.ledger.settle(w.name, versions, outcomes)
		if errors.Is(err, shiftsync.ErrFenced) || ctx.Err() != nil {
			return err
		}
	}
}

func (w *worker) begin(ctx context.Context, takeover bool) error {
	err := w.producer.Begin(ctx, takeover)
	if err == nil {
		w.ledger.mu.Lock()
		defer w.ledger.mu.Unlock()
		w.ledger.figures.epochs++
	}
	return err
}
