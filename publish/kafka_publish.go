package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"golang.org/x/sync/errgroup"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// lane is one partition of the topic. One batch at a time is under way in it.
type lane struct {
	partition int
	sequence  int32  // of the next batch
	end       int64  // where the partition ends as far as this worker wrote it
	blocked   error  // why it is given up until Begin; nil: it is not
	doubt     *batch // the batch whose fate is unknown, if blocked for that

	memory bytes.Buffer // for batches; only if nothing can still be reading the last one
	queue  recordQueue
}

// call is one call of Publish.
type call struct {
	hold     shiftsync.Hold
	pass     []byte
	at       time.Time
	records  []shiftsync.Record
	outcomes []shiftsync.Outcome
	fenced   atomic.Bool // an answer said so: the other lanes need not ask
}

// Publish implements shiftsync.Publisher. Hold is looked at from several goroutines at once.
func (k *Kafka) Publish(ctx context.Context, hold shiftsync.Hold, pass string, records []shiftsync.Record) ([]shiftsync.Outcome, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := &call{
		hold: hold, pass: []byte(pass), at: time.Now(),
		records: records, outcomes: make([]shiftsync.Outcome, len(records)),
	}
	for i := range c.outcomes {
		c.outcomes[i].Fate = shiftsync.Unsent
	}
	switch {
	case k.session == nil:
		return c.outcomes, fmt.Errorf("kafka: publish: %w", errNoEpoch)
	case k.ousted:
		// A partition that the newer producer has not touched would still take what is sent there.
		return c.outcomes, fmt.Errorf("kafka: publish: %w", k.fencedOut())
	}
	ctx, cancel := context.WithTimeout(ctx, k.options.Limit)
	defer cancel()

	parts := k.partition(c)
	errs := make(laneErrors, len(parts))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, part := range parts {
		g.Go(func() error {
			errs[i] = k.publish(ctx, c, part)
			return nil
		})
	}
	_ = g.Wait() // errors are in errs
	k.ousted = c.fenced.Load()
	if err := errs.join(); err != nil {
		return c.outcomes, fmt.Errorf("kafka: publish: %w", err)
	}
	return c.outcomes, nil
}

// part is the records of a call that go to one partition, in their order.
type part struct {
	lane    *lane
	indices []int
}

func (k *Kafka) partition(c *call) []part {
	partitions := k.layout.Load().partitions
	if fixed := k.options.Partition; fixed.Set {
		partitions = []int{fixed.Value}
	}
	hash := byKey()
	byPartition := make(map[int]int, len(partitions))
	var parts []part
	for i := range c.records {
		p := hash.Balance(kafka.Message{Key: c.records[i].Key}, partitions...)
		c.outcomes[i].Partition = p
		at, seen := byPartition[p]
		if !seen {
			at = len(parts)
			byPartition[p] = at
			if k.lanes[p] == nil { // a partition that the topic got since Begin
				k.lanes[p] = &lane{partition: p}
			}
			parts = append(parts, part{lane: k.lanes[p], indices: make([]int, 0, len(c.records)/len(partitions)+1)})
		}
		parts[at].indices = append(parts[at].indices, i)
	}
	return parts
}

// publish sends a partition's records, batch after batch, until one of them cannot be settled.
func (k *Kafka) publish(ctx context.Context, c *call, p part) error {
	l := p.lane
	if l.blocked != nil {
		return fmt.Errorf("%s/%d is given up until a new epoch, because: %w", k.topic, l.partition, l.blocked)
	}
	for rest := p.indices; len(rest) > 0; {
		n := k.fit(c, rest)
		if l.blocked = k.deliver(ctx, c, l, rest[:n]); l.blocked != nil {
			return l.blocked
		}
		rest = rest[n:]
	}
	return nil
}

// fit counts how many of the records make a batch. One that is too large on its own is for the broker to judge.
func (k *Kafka) fit(c *call, indices []int) int {
	limit := batchBytes
	if most := k.layout.Load().maxRecord; most > 0 {
		limit = min(limit, most)
	}
	size := batchOverhead
	for n, i := range indices {
		size += recordSize(&c.records[i], c.pass)
		if size > limit && n > 0 {
			return n
		}
	}
	return len(indices)
}

// deliver sends records as one batch. A batch that is refused for what is in it is cut up, until the records that are
// to blame stand alone; an error means that the partition has to be given up.
func (k *Kafka) deliver(ctx context.Context, c *call, l *lane, indices []int) error {
	l.memory.Reset()
	l.queue.reset(c.records, indices, c.pass, c.at)
	formed, err := form(&l.memory, &l.queue, k.compress, k.session, l.sequence)
	if err != nil {
		return err
	}
	b := &batch{
		partition: l.partition, records: len(indices), bytes: formed,
		producer: k.session.producer, epoch: k.session.epoch,
	}
	k.counters.batches.Add(1)
	a := k.send(ctx, c.hold, c, b)
	if b.doubt {
		l.memory = bytes.Buffer{} // an attempt that was given up may still be reading it
	}
	switch a.fate {
	case shiftsync.Acknowledged:
		for n, i := range indices {
			c.outcomes[i].Fate = shiftsync.Acknowledged
			c.outcomes[i].Offset = a.base + int64(n)
		}
		l.sequence = nextSequence(l.sequence, len(indices))
		l.end = a.base + int64(len(indices))
		k.counters.bytes.Add(int64(len(b.bytes) - sizePrefix))
		return nil
	case shiftsync.Refused:
		if len(indices) == 1 {
			c.outcomes[indices[0]].Fate = shiftsync.Refused
			c.outcomes[indices[0]].Reason = k.reason(c, a.code, indices[0])
			return nil
		}
		for _, some := range cut(indices, a.bad) {
			if err := k.deliver(ctx, c, l, some); err != nil {
				return err
			}
		}
		return nil
	case shiftsync.Unknown:
		for _, i := range indices {
			c.outcomes[i].Fate = shiftsync.Unknown
		}
		l.doubt = b
		k.counters.unknown.Add(1)
		return a.err
	default:
		return a.err
	}
}

// cut divides records around those that the broker named, or in the middle if it named none.
func cut(indices, bad []int) [][]int {
	if len(bad) == 0 {
		half := len(indices) / 2
		return [][]int{indices[:half], indices[half:]}
	}
	var pieces [][]int
	from := 0
	for _, at := range bad {
		if at > from {
			pieces = append(pieces, indices[from:at])
		}
		pieces = append(pieces, indices[at:at+1])
		from = at + 1
	}
	if from < len(indices) {
		pieces = append(pieces, indices[from:])
	}
	return pieces
}

// reason says why a record was refused, without its content.
func (k *Kafka) reason(c *call, code kafka.Error, i int) string {
	if code == kafka.InvalidRecord {
		return "the broker calls it invalid (INVALID_RECORD)"
	}
	size := recordSize(&c.records[i], c.pass) + batchOverhead
	if most := k.layout.Load().maxRecord; most > 0 {
		return fmt.Sprintf("too large: about %d bytes, and max.message.bytes of topic %s is %d", size, k.topic, most)
	}
	return fmt.Sprintf("too large for topic %s: about %d bytes", k.topic, size)
}

// answer is what became of a batch.
type answer struct {
	fate shiftsync.Fate
	base int64       // offset of its first record, if Acknowledged
	code kafka.Error // if Refused, which is about the batch as it is
	bad  []int       // if Refused: which records are to blame, in order, if the broker named them
	err  error       // if Unsent or Unknown
}

// send attempts a batch, the same bytes each time, until its fate is known or it has to be given up. What an answer
// means hangs on whether each attempt before it had a definite answer too: if not, the batch may land at any time,
// and only an acknowledgement settles that.
func (k *Kafka) send(ctx context.Context, hold shiftsync.Hold, c *call, b *batch) answer {
	where := func() string {
		leader, _ := k.leader(ctx, b.partition)
		return fmt.Sprintf("%s/%d at %s", k.topic, b.partition, leader)
	}
	open := func(err error) answer {
		if b.doubt {
			return answer{fate: shiftsync.Unknown, err: fmt.Errorf("%w (an attempt was not answered)", err)}
		}
		return answer{fate: shiftsync.Unsent, err: err}
	}
	pauses := newPauses()
	var last error
	for attempt := 1; ; attempt++ {
		if err := hold.Err(); err != nil {
			err = fmt.Errorf("%s/%d: no right to write any more: %w", k.topic, b.partition, err)
			if last != nil {
				err = fmt.Errorf("%w; before that: %w", err, last)
			}
			return open(err)
		}
		if c.fenced.Load() {
			return open(fmt.Errorf("%s/%d: %w", k.topic, b.partition, shiftsync.ErrFenced))
		}
		if attempt > 1 || b.doubt {
			k.counters.retries.Add(1)
		}
		sent, res, err := k.attempt(ctx, hold, b)
		if err == nil {
			return answer{fate: shiftsync.Acknowledged, base: res.BaseOffset}
		}
		last = brief(err)
		var code kafka.Error
		errors.As(err, &code)
		switch {
		case !sent:
			// Nothing new to doubt. The library may have gone no further than to find no leader, for want of a connection.
			if leader, trouble := k.leader(ctx, b.partition); trouble != nil {
				return open(fmt.Errorf("%s/%d at %s: %w", k.topic, b.partition, leader, trouble))
			}
		case code == kafka.InvalidProducerEpoch || code == kafka.ProducerFenced:
			c.fenced.Store(true)
			return open(fmt.Errorf("%s: %w", where(), k.fencedOut()))
		case code == kafka.OutOfOrderSequenceNumber || code == kafka.DuplicateSequenceNumber || code == kafka.UnknownProducerId:
			b.doubt = true
			return open(fmt.Errorf("%s: broker and producer disagree on what was sent, a new epoch is needed: %w", where(), code))
		case code == kafka.NotEnoughReplicas || code == kafka.InvalidMessage:
			// Definite, and passes: replicas return, and bytes that were damaged on the way arrive whole.
		case code == kafka.MessageSizeTooLarge || code == kafka.RecordListTooLarge || code == kafka.InvalidRecord:
			if !b.doubt {
				return answer{fate: shiftsync.Refused, code: code, bad: named(res, b.records)}
			}
			return open(fmt.Errorf("%s: %w", where(), code))
		case code == kafka.TopicAuthorizationFailed:
			return open(fmt.Errorf("%s: %w: the right Write on the topic is needed", where(), code))
		case code == kafka.InvalidTimestamp: // brokers refuse what is dated more than an hour ahead
			return open(fmt.Errorf("%s: %w: is this machine's clock right?", where(), code))
		case code == kafka.InvalidTopic:
			return open(fmt.Errorf("%s: %w", where(), code))
		default:
			b.doubt = true
		}
		if code == kafka.NotLeaderForPartition {
			k.Rest() // who is the leader now is asked before the next attempt, and not only when that is due
		}
		if !pause(ctx, pauses.NextBackOff()) || !k.worthTrying(ctx) {
			return open(fmt.Errorf("%s: gave up after %d attempts: %w", where(), attempt, last))
		}
	}
}

// worthTrying says whether there is time for an answer: an attempt that is cut short puts its batch in doubt.
func (k *Kafka) worthTrying(ctx context.Context) bool {
	deadline, limited := ctx.Deadline()
	return !limited || time.Until(deadline) > min(k.options.Attempt, k.options.Limit/4)
}

// attempt sends a batch once. When sent is false, nothing left this process and nothing will.
func (k *Kafka) attempt(ctx context.Context, hold shiftsync.Hold, b *batch) (sent bool, res *kafka.ProduceResponse, err error) {
	p := newPayload(hold, b.bytes)
	res, err = k.client.RawProduce(ctx, &kafka.RawProduceRequest{
		Topic:        k.topic,
		Partition:    b.partition,
		RequiredAcks: kafka.RequireAll, // the zero value is none
		RawRecords:   protocol.RawRecordSet{Reader: p},
	})
	if err == nil {
		err = res.Error
	}
	sent = p.withdraw()
	if err == nil && !sent {
		err = errWithdrawn // the library takes a batch that it cannot read for an empty one, and that for a success
	}
	return sent, res, err
}

// named returns which of a batch's n records the broker blamed, in order.
func named(res *kafka.ProduceResponse, n int) []int {
	var bad []int
	for i := range res.RecordErrors {
		if i >= 0 && i < n {
			bad = append(bad, i)
		}
	}
	slices.Sort(bad)
	return bad
}

// laneErrors are the errors of some partitions, nil where there is none. The text is one line and names a few.
type laneErrors []error

const spelledOut = 3

func (e laneErrors) join() error {
	e = slices.DeleteFunc(e, func(err error) bool { return err == nil })
	if len(e) == 0 {
		return nil
	}
	return e
}

func (e laneErrors) Error() string {
	var text []string
	for _, err := range e[:min(len(e), spelledOut)] {
		text = append(text, strings.ReplaceAll(err.Error(), "\n", ": "))
	}
	if more := len(e) - spelledOut; more > 0 {
		text = append(text, fmt.Sprintf("and %d more partitions", more))
	}
	return strings.Join(text, "; ")
}

// Unwrap lets errors.Is and errors.As see each of them.
func (e laneErrors) Unwrap() []error { return e }

// byKey chooses a partition as Java producers do.
func byKey() kafka.Murmur2Balancer { return kafka.Murmur2Balancer{Consistent: true} }
