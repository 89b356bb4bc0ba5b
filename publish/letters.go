package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// DeadLetters writes to a topic of its own what could not be published. It has no producer id, so it is not fenced, and
// a letter whose answer gets lost comes twice: for people to look at, once too often is better than never.
type DeadLetters struct {
	kafka    *Kafka // of that topic; it never begins an epoch, and its transactional id is not used
	meantFor string // the topic that the letters did not get into
}

var _ shiftsync.DeadLetters = (*DeadLetters)(nil)

// Headers of a dead letter, beside headerPass.
const (
	headerStage       = "slotsync-stage"
	headerReason      = "slotsync-reason"
	headerShift       = "slotsync-shift" // left out if the shift has no id
	headerTopic       = "slotsync-topic" // that it was meant for
	headerContentType = "slotsync-content-type"
	headerTime        = "slotsync-time"
	headerFullBytes   = "slotsync-full-bytes" // of a value that was cut

	typeJSON = "application/json"
	typeAvro = "application/avro" // in Confluent's wire format
)

const (
	// lettersLimit bounds a call of Bury.
	lettersLimit = 10 * time.Second
	// letterBytes bounds a value whatever the topic takes. Brokers hang up on requests of more than 100 MiB.
	letterBytes = 64 << 20
)

// NewDeadLetters returns what writes to the topic, on the cluster that k writes to and with its options. It does not ask
// the brokers yet.
func NewDeadLetters(k *Kafka, topic string) (*DeadLetters, error) {
	o := k.options
	o.Partition = shiftsync.Optional[int]{}
	o.Limit = min(o.Limit, lettersLimit)
	own, err := NewKafka(k.brokers, topic, o)
	if err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	return &DeadLetters{kafka: own, meantFor: k.topic}, nil
}

// Close ends all connections. It must not be called while another method is at work.
func (d *DeadLetters) Close() error { return d.kafka.Close() }

// Describe asks for the topic as Kafka.Describe does.
func (d *DeadLetters) Describe(ctx context.Context) *Description { return d.kafka.Describe(ctx) }

// TopicSettings asks for the topic's settings as Kafka.TopicSettings does.
func (d *DeadLetters) TopicSettings(ctx context.Context) (TopicSettings, error) {
	return d.kafka.TopicSettings(ctx)
}

// Bury implements shiftsync.DeadLetters. It takes no longer than 10 s. A value that is too large for the topic is cut,
// and has its full length in a header. Between calls no connection is open: there is seldom a next one.
func (d *DeadLetters) Bury(ctx context.Context, hold shiftsync.Hold, letters []shiftsync.DeadLetter) ([]bool, error) {
	defer d.kafka.Rest()
	ctx, cancel := context.WithTimeout(ctx, d.kafka.options.Limit)
	defer cancel()
	b := &burial{DeadLetters: d, hold: hold, buried: make([]bool, len(letters))}
	partitions, err := ask(ctx, d.kafka.options.Limit, "kafka: topic "+d.kafka.topic, b.look)
	if err != nil {
		return b.buried, err
	}
	var lanes [][]*letter
	lane := map[int]int{} // partition to its index in lanes
	for i := range letters {
		l := d.letter(i, &letters[i])
		p := byKey().Balance(kafka.Message{Key: l.key}, partitions...)
		if _, seen := lane[p]; !seen {
			lane[p] = len(lanes)
			lanes = append(lanes, nil)
		}
		lanes[lane[p]] = append(lanes[lane[p]], l)
	}
	errs := make(laneErrors, len(lanes))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for p, i := range lane {
		g.Go(func() error {
			errs[i] = b.buryIn(ctx, p, lanes[i])
			return nil
		})
	}
	_ = g.Wait() // errors are in errs
	if err := errs.join(); err != nil {
		return b.buried, fmt.Errorf("kafka: %w", err)
	}
	return b.buried, nil
}

// burial is one call of Bury.
type burial struct {
	*DeadLetters
	hold      shiftsync.Hold
	maxRecord int // of the topic; 0: not known
	buried    []bool
}

// look returns the partitions of the topic and finds out what it takes.
func (b *burial) look(ctx context.Context) (partitions []int, err error) {
	k := b.kafka
	meta, err := k.metadata(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(meta.Topics, func(t kafka.Topic) bool { return t.Name == k.topic })
	switch {
	case i < 0, errors.Is(meta.Topics[i].Error, kafka.UnknownTopicOrPartition):
		return nil, fmt.Errorf("%w: create it, or unset DLQ_TOPIC", ErrNoTopic)
	case errors.Is(meta.Topics[i].Error, kafka.TopicAuthorizationFailed):
		return nil, noRightToBury(kafka.TopicAuthorizationFailed)
	case meta.Topics[i].Error != nil:
		return nil, brief(meta.Topics[i].Error)
	}
	for _, p := range meta.Topics[i].Partitions {
		partitions = append(partitions, p.ID)
	}
	slices.Sort(partitions)
	// That it is not told is no trouble: then it is found out by trying.
	if told, err := k.settings(ctx, kafka.ResourceTypeTopic, k.topic, maxMessageBytes); err == nil {
		b.maxRecord, _ = strconv.Atoi(told[maxMessageBytes])
	}
	return partitions, nil
}

func noRightToBury(code kafka.Error) error {
	return fmt.Errorf("%w: the right Write on the topic is needed", code)
}

// letter is a dead letter on its way.
type letter struct {
	index   int // among those of the call
	shift   int64
	key     []byte
	value   []byte
	full    int // bytes of the value before it was cut
	headers []kafka.Header
}

func (d *DeadLetters) letter(index int, from *shiftsync.DeadLetter) *letter {
	l := &letter{index: index, shift: from.ID, key: from.Key, value: from.Body, full: len(from.Body)}
	content, id := typeJSON, ""
	if from.Stage == shiftsync.StagePublish {
		content = typeAvro
	}
	if from.ID != 0 {
		id = strconv.FormatInt(from.ID, 10)
	}
	if l.key == nil && id != "" {
		l.key = []byte(id)
	}
	for _, h := range []struct{ name, text string }{
		{headerStage, string(from.Stage)}, {headerReason, from.Reason}, {headerShift, id}, {headerTopic, d.meantFor},
		{headerContentType, content}, {headerTime, from.Time.UTC().Format(time.RFC3339)}, {headerPass, from.Pass},
	} {
		if h.text != "" {
			l.headers = append(l.headers, kafka.Header{Key: h.name, Value: []byte(h.text)})
		}
	}
	if len(l.value) > letterBytes {
		l.cutTo(letterBytes)
	}
	return l
}

// overhead is what the letter takes of a batch beside its value, at most.
func (l *letter) overhead() int {
	const record, header = 1 + 5*5, 2 * 5
	size := record + len(l.key)
	for _, h := range l.headers {
		size += header + len(h.Key) + len(h.Value)
	}
	return size
}

func (l *letter) cutTo(n int) {
	if len(l.value) == l.full {
		l.headers = append(l.headers, kafka.Header{Key: headerFullBytes, Value: strconv.AppendInt(nil, int64(l.full), 10)})
	}
	l.value = l.value[:n]
}

// shrink cuts the value to what a batch of so many bytes (0: not known) has room for, or to half its length if that is
// less. It reports whether there was anything left to cut.
func (l *letter) shrink(most int) bool {
	if len(l.value) == 0 {
		return false
	}
	room := len(l.value) / 2
	if fits := most - batchOverhead - l.overhead() - len(headerFullBytes) - 30; most > 0 && fits < len(l.value) {
		room = max(fits, 0)
	}
	l.cutTo(room)
	return true
}

// buryIn sends letters to a partition, batch after batch. After an error that is about no letter it gives up; one that
// is about a letter does not keep the others from being sent.
func (b *burial) buryIn(ctx context.Context, partition int, letters []*letter) error {
	limit := batchBytes
	if b.maxRecord > 0 {
		limit = min(limit, b.maxRecord)
	}
	var refused []error
	for rest := letters; len(rest) > 0; {
		n, size := 0, batchOverhead
		for n < len(rest) {
			if size += rest[n].overhead() + len(rest[n].value); size > limit && n > 0 {
				break
			}
			n++
		}
		if err := b.deliver(ctx, partition, rest[:n], &refused); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if len(refused) > 0 {
		return laneErrors(refused)
	}
	return nil
}

// deliver sends letters as one batch. If that is refused for what is in it, it is halved until the letter that is to
// blame stands alone, and that one is cut until it fits, if it can be.
func (b *burial) deliver(ctx context.Context, partition int, letters []*letter, refused *[]error) error {
	code, err := b.send(ctx, partition, letters)
	tooLarge := code == kafka.MessageSizeTooLarge || code == kafka.RecordListTooLarge
	switch {
	case err == nil:
		for _, l := range letters {
			b.buried[l.index] = true
		}
		return nil
	case !tooLarge && code != kafka.InvalidRecord:
		return err
	case len(letters) > 1:
		half := len(letters) / 2
		if err := b.deliver(ctx, partition, letters[:half], refused); err != nil {
			return err
		}
		return b.deliver(ctx, partition, letters[half:], refused)
	case tooLarge && letters[0].shrink(b.maxRecord):
		return b.deliver(ctx, partition, letters, refused)
	}
	why := "the broker calls it invalid (INVALID_RECORD): see what the topic demands of its records"
	switch {
	case tooLarge:
		why = "it is too large even without its content: raise the topic's max.message.bytes"
	case letters[0].key == nil:
		why = "a compacted topic takes none without a key, which a shift without an id has not: take compact out of its cleanup.policy"
	}
	*refused = append(*refused, fmt.Errorf("%s/%d refuses the letter of shift %d: %s", b.kafka.topic, partition, letters[0].shift, why))
	return nil
}

// send sends letters as one batch until it is answered. Code is that of a broker's refusal; 0: there was none.
func (b *burial) send(ctx context.Context, partition int, letters []*letter) (code kafka.Error, err error) {
	k := b.kafka
	_, err = ask(ctx, k.options.Limit, fmt.Sprintf("%s/%d", k.topic, partition), func(ctx context.Context) (struct{}, error) {
		if err := b.hold.Err(); err != nil {
			return struct{}{}, backoff.Permanent(fmt.Errorf("no right to write any more: %w", err))
		}
		records := make([]kafka.Record, len(letters))
		for i, l := range letters {
			records[i] = kafka.Record{Key: kafka.NewBytes(l.key), Value: kafka.NewBytes(l.value), Headers: l.headers}
		}
		res, err := k.client.Produce(ctx, &kafka.ProduceRequest{
			Topic:        k.topic,
			Partition:    partition,
			RequiredAcks: kafka.RequireAll, // the zero value is none
			Records:      kafka.NewRecordReader(records...),
			Compression:  k.compress,
		})
		if err == nil {
			err = res.Error
		}
		if err != nil {
			err = brief(err)
		}
		if errors.Is(err, kafka.TopicAuthorizationFailed) {
			err = noRightToBury(kafka.TopicAuthorizationFailed)
		}
		return struct{}{}, err
	})
	errors.As(err, &code)
	return code, err
}
