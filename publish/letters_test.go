package publish_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/publish/publishtest"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// withLetters makes a topic for dead letters on the cluster, and returns the cluster with that as its topic.
func withLetters(t *testing.T, c *cluster, partitions int, settings map[string]string) *cluster {
	t.Helper()
	dead := &cluster{c.Kafka, c.Addrs, c.topic + "-dlq"}
	if err := publishtest.CreateTopic(t.Context(), c.Addrs, dead.topic, partitions, settings); err != nil {
		t.Fatal(err)
	}
	if c.real() {
		dead.deleteAfter(t)
	}
	return dead
}

// newDeadLetters returns what writes to the topic of dead letters that belongs to the cluster's topic.
func newDeadLetters(t *testing.T, c *cluster, o publish.KafkaOptions) *publish.DeadLetters {
	t.Helper()
	d, err := publish.NewDeadLetters(newProducer(t, c, o), c.topic+"-dlq")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// letters are some that could not be parsed, of shifts 1, 2 and so on.
func letters(bodies ...string) []shiftsync.DeadLetter {
	all := make([]shiftsync.DeadLetter, len(bodies))
	for i, body := range bodies {
		all[i] = shiftsync.DeadLetter{ID: int64(i + 1), Stage: shiftsync.StageParse, Reason: "no start_time", Body: []byte(body)}
	}
	return all
}

func mustBury(t *testing.T, d *publish.DeadLetters, letters []shiftsync.DeadLetter) {
	t.Helper()
	buried, err := d.Bury(t.Context(), &right{}, letters)
	if err != nil || slices.Contains(buried, false) || len(buried) != len(letters) {
		t.Fatalf("bury: got %v, %v", buried, err)
	}
}

func TestADeadLetterSaysWhatItIs(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{}, func(t *testing.T, c *cluster) {
		dead := withLetters(t, c, 1, nil)
		d := newDeadLetters(t, c, c.fenced())
		noon, began := time.Date(2026, 11, 21, 13, 0, 0, 0, time.FixedZone("", 3600)), time.Now() // a letter may have waited for long
		mustBury(t, d, []shiftsync.DeadLetter{
			{ID: 5012, Stage: shiftsync.StageParse, Reason: "no start_time", Body: []byte(`{"id":5012}`), Pass: "pass", Time: noon},
			{ID: 0, Stage: shiftsync.StageParse, Reason: "no id", Body: []byte(`{}`), Pass: "pass", Time: noon},
			{ID: 5013, Stage: shiftsync.StageEncode, Reason: "user_id: out of range", Body: []byte(`{"id":5013}`), Pass: "pass", Time: noon},
			{ID: 5014, Stage: shiftsync.StagePublish, Reason: "too large", Key: []byte{0, 0, 0, 0, 7, 2}, Body: []byte{0, 0, 0, 0, 8, 2}, Pass: "pass", Time: noon},
			{ID: 5015, Stage: shiftsync.StagePublish, Reason: "strange", Key: []byte{0, 0, 0, 0, 7, 4}, Pass: "pass", Time: noon},
		})
		for i, want := range []struct{ key, value, stage, reason, shift, content string }{
			{"5012", `{"id":5012}`, "parse", "no start_time", "5012", "application/json"},
			{"", `{}`, "parse", "no id", "", "application/json"},
			{"5013", `{"id":5013}`, "encode", "user_id: out of range", "5013", "application/json"},
			{"\x00\x00\x00\x00\x07\x02", "\x00\x00\x00\x00\x08\x02", "publish", "too large", "5014", "application/avro"},
			{"\x00\x00\x00\x00\x07\x04", "", "publish", "strange", "5015", "application/avro"},
		} {
			m := read(t, dead)[i]
			if string(m.Key) != want.key || string(m.Value) != want.value || (m.Key == nil) != (want.key == "") || (m.Value == nil) != (want.value == "") {
				t.Errorf("letter %d: got %q: %q", i, m.Key, m.Value)
			}
			h := m.Headers
			if h["slotsync-stage"] != want.stage || h["slotsync-reason"] != want.reason || h["slotsync-shift"] != want.shift ||
				h["slotsync-content-type"] != want.content || h["slotsync-topic"] != c.topic || h["slotsync-pass"] != "pass" {
				t.Errorf("letter %d: got the headers %q", i, h)
			}
			if h["slotsync-time"] != "2026-11-21T12:00:00Z" || m.Time.Before(began.Truncate(time.Millisecond)) {
				t.Errorf("letter %d: got the times %q and %s", i, h["slotsync-time"], m.Time)
			}
			if _, cut := h["slotsync-full-bytes"]; cut {
				t.Errorf("letter %d: got %q for a value that was not cut", i, h)
			}
		}
	})
}

func TestALetterThatIsTooLargeIsCutAndItsNeighboursAreNot(t *testing.T) {
	const limit = 4000
	long := strings.Repeat("0123456789", 1000)
	cutTo := func(t *testing.T, c *cluster, least int) {
		dead := withLetters(t, c, 1, map[string]string{"max.message.bytes": strconv.Itoa(limit)})
		mustBury(t, newDeadLetters(t, c, c.fenced()), letters("a", long, "b", "c"))
		got := read(t, dead)
		if len(got) != 4 {
			t.Fatalf("got %d letters", len(got))
		}
		for _, m := range got {
			full, cut := m.Headers["slotsync-full-bytes"]
			switch value := string(m.Value); {
			case m.Headers["slotsync-shift"] != "2":
				if cut || len(value) != 1 {
					t.Errorf("a neighbour was cut: %q, %q", value, m.Headers)
				}
			case full != "10000" || !strings.HasPrefix(long, value) || len(value) < least:
				t.Errorf("got %d bytes of %s, want %d or more", len(value), full, least)
			}
		}
	}
	t.Run("by a limit that is told", func(t *testing.T) {
		onEachKafka(t, publishtest.KafkaOptions{}, func(t *testing.T, c *cluster) { cutTo(t, c, limit*8/10) })
	})
	t.Run("by one that is not", func(t *testing.T) {
		c := startKafka(t, publishtest.KafkaOptions{})
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		cutTo(t, c, limit/4)
	})
}

func TestWhatNoTopicTakesIsCutBeforeItIsSent(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{})
	dead := withLetters(t, c, 1, map[string]string{"max.message.bytes": "2147483647"})
	mustBury(t, newDeadLetters(t, c, fenced), letters(strings.Repeat("x", 70<<20)))
	m := read(t, dead)[0]
	if len(m.Value) != 64<<20 || m.Headers["slotsync-full-bytes"] != strconv.Itoa(70<<20) {
		t.Errorf("got %d bytes of %s", len(m.Value), m.Headers["slotsync-full-bytes"])
	}
}

func TestATopicOfDeadLettersThatIsMissingIsSaidAtOnceAndFoundOnceItIsThere(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{}, func(t *testing.T, c *cluster) {
		d := newDeadLetters(t, c, c.fenced())
		began := time.Now()
		buried, err := d.Bury(t.Context(), &right{}, letters("a", "b"))
		if !errors.Is(err, publish.ErrNoTopic) || !strings.Contains(err.Error(), c.topic+"-dlq") || !strings.Contains(err.Error(), "DLQ_TOPIC") {
			t.Errorf("got %v, want that the topic does not exist, and its setting", err)
		}
		if took := time.Since(began); took > 4*time.Second || !slices.Equal(buried, []bool{false, false}) {
			t.Errorf("got %v after %s", buried, took)
		}
		dead := withLetters(t, c, 1, nil)
		mustBury(t, d, letters("a", "b"))
		wantLog(t, dead, "a", "b")
	})
}

func TestWithoutTheRightToWriteNoLetterIsTaken(t *testing.T) {
	t.Parallel()
	const dead = topic + "-dlq"
	for name, may := range map[string][]kfake.ACL{
		"it may not be seen":       nil,
		"it may only be looked at": {publishtest.May(kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, dead)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rights := append(may, publishtest.May(kmsg.ACLOperationAlter, kmsg.ACLResourceTypeCluster, "kafka-cluster"),
				publishtest.May(kmsg.ACLOperationCreate, kmsg.ACLResourceTypeCluster, "kafka-cluster"))
			c := startKafka(t, publishtest.KafkaOptions{Topic: dead, Rights: rights})
			d := newDeadLetters(t, &cluster{c.Kafka, c.Addrs, topic}, fenced)
			buried, err := d.Bury(t.Context(), &right{}, letters("a"))
			if err == nil || !strings.Contains(err.Error(), "right Write on the topic") || !strings.Contains(err.Error(), dead) || buried[0] {
				t.Errorf("got %v, %v", buried, err)
			}
			if err := c.Grant(t.Context(), publishtest.May(kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic, dead)); err != nil {
				t.Fatal(err)
			}
			mustBury(t, d, letters("a"))
		})
	}
}

func TestABrokerThatIsAwayTakesNoLetterAndBoundedTime(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{}, func(t *testing.T, c *cluster) {
		withLetters(t, c, 2, nil)
		proxy := publishtest.NewProxy()
		t.Cleanup(proxy.Close)
		o := c.fenced()
		o.Dial, o.Limit = proxy.Dial, 2*time.Second
		d := newDeadLetters(t, c, o)
		mustBury(t, d, letters("a", "b"))

		proxy.Cut()
		began := time.Now()
		buried, err := d.Bury(t.Context(), &right{}, letters("a", "b"))
		if took := time.Since(began); err == nil || slices.Contains(buried, true) || took > 4*time.Second {
			t.Errorf("refused connections: got %v, %v after %s", buried, err, took)
		}
		proxy.Mend()

		held := proxy.Catch(publishtest.Request, int16(kmsg.Produce), 10)
		began = time.Now()
		buried, err = d.Bury(t.Context(), &right{}, letters("a", "b"))
		if took := time.Since(began); err == nil || slices.Contains(buried, true) || took > 4*time.Second {
			t.Errorf("no answers: got %v, %v after %s", buried, err, took)
		}
		held.Drop()

		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("asked to stop"))
		if buried, err := d.Bury(ctx, &right{}, letters("a")); err == nil || buried[0] {
			t.Errorf("after a stop: got %v, %v", buried, err)
		}
		mustBury(t, d, letters("a", "b"))
	})
}

func TestALetterWhoseAnswerGetsLostComesTwice(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{}, func(t *testing.T, c *cluster) {
		dead := withLetters(t, c, 1, nil)
		proxy := publishtest.NewProxy()
		t.Cleanup(proxy.Close)
		o := c.fenced()
		o.Dial = proxy.Dial
		d := newDeadLetters(t, c, o)
		lost := proxy.Catch(publishtest.Answer, int16(kmsg.Produce), 1)
		done := make(chan struct{})
		go func() {
			defer close(done)
			<-lost.Caught()
			lost.Drop()
		}()
		mustBury(t, d, letters("a"))
		within(t, "lost answer", done)
		wantLog(t, dead, "a", "a")
	})
}

func TestALetterThatIsRefusedKeepsNoOtherFromComing(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{}, func(t *testing.T, c *cluster) {
		dead := withLetters(t, c, 1, map[string]string{"cleanup.policy": "compact"})
		some := letters("a", "b", "keyless", "d", "e")
		some[2].ID = 0
		if !c.real() { // which takes it
			c.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.Produce}, Topic: dead.topic, Err: kerr.InvalidRecord, Count: -1,
				When: func(r kmsg.Request) bool {
					return strings.Contains(string(r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records), "keyless")
				},
			})
		}
		buried, err := newDeadLetters(t, c, c.fenced()).Bury(t.Context(), &right{}, some)
		if !slices.Equal(buried, []bool{true, true, false, true, true}) {
			t.Errorf("got %v", buried)
		}
		if err == nil || !strings.Contains(err.Error(), "cleanup.policy") || strings.Contains(err.Error(), "keyless") {
			t.Errorf("got %v, want the setting that is to blame", err)
		}
		wantLog(t, dead, "a", "b", "d", "e")
	})
}

func TestManyLettersComeAll(t *testing.T) {
	onEachKafka(t, publishtest.KafkaOptions{}, func(t *testing.T, c *cluster) {
		dead := withLetters(t, c, 3, nil)
		var largest atomic.Int64
		if !c.real() {
			c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				produce := req.(*kmsg.ProduceRequest)
				largest.Store(max(largest.Load(), int64(len(produce.Topics[0].Partitions[0].Records))))
				if produce.Acks != -1 {
					t.Errorf("asked for %d acknowledgements, want those of all replicas", produce.Acks)
				}
				if produce.TransactionID != nil {
					t.Errorf("letters are sent under the transactional id %q, and would displace who writes shifts", *produce.TransactionID)
				}
				return nil, nil, false
			})
		}
		var bodies []string
		for i := range 3000 {
			bodies = append(bodies, fmt.Sprint(i, strings.Repeat(".", 1500)))
		}
		mustBury(t, newDeadLetters(t, c, c.fenced()), letters(bodies...))
		java := kgo.StickyKeyPartitioner(nil).ForTopic(dead.topic)
		messages := read(t, dead)
		for _, m := range messages {
			if want := java.Partition(&kgo.Record{Key: m.Key}, 3); m.Partition != want {
				t.Fatalf("letter %s is in partition %d, want %d", m.Key, m.Partition, want)
			}
		}
		got := values(messages)
		slices.Sort(got)
		slices.Sort(bodies)
		if !slices.Equal(got, bodies) {
			t.Errorf("got %d letters, want %d", len(got), len(bodies))
		}
		if largest.Load() > 900_000 {
			t.Errorf("sent a batch of %d bytes", largest.Load())
		}
	})
}

func TestABatchOfLettersIsNoLargerThanTheTopicTakes(t *testing.T) {
	t.Parallel()
	const limit = 4000
	c := startKafka(t, publishtest.KafkaOptions{})
	dead := withLetters(t, c, 1, map[string]string{"max.message.bytes": strconv.Itoa(limit)})
	var largest, least atomic.Int64
	least.Store(limit)
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		size := int64(len(req.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records))
		largest.Store(max(largest.Load(), size))
		least.Store(min(least.Load(), size))
		return nil, nil, false
	})
	mustBury(t, newDeadLetters(t, c, fenced), letters(slices.Repeat([]string{strings.Repeat("x", 900)}, 9)...))
	if largest.Load() > limit || least.Load() < 2*900 {
		t.Errorf("sent batches of %d to %d bytes, where %d fit", least.Load(), largest.Load(), limit)
	}
	if got := len(read(t, dead)); got != 9 {
		t.Errorf("got %d letters", got)
	}
}

func TestPastItsHoldNoLetterIsSent(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{})
	dead := withLetters(t, c, 1, nil)
	over := &right{}
	over.end()
	buried, err := newDeadLetters(t, c, fenced).Bury(t.Context(), over, letters("a"))
	if !errors.Is(err, shiftsync.ErrLeaseLost) || buried[0] {
		t.Errorf("got %v, %v", buried, err)
	}
	wantLog(t, dead)
}

func TestBetweenTwoCallsForDeadLettersTheBrokerIsLeftAlone(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{})
	withLetters(t, c, 1, nil)
	conns := &countedConns{none: make(chan struct{}, 1)}
	d := newDeadLetters(t, c, publish.KafkaOptions{Dial: conns.dial})
	for range 2 {
		mustBury(t, d, letters("a"))
		within(t, "end of the connections", conns.none)
	}
}
