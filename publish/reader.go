package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Reader reads the topic back and decodes what it finds, its own records and those of any other producer that writes
// Confluent's wire format. It belongs to no consumer group and commits nothing, so reading leaves no trace. It
// may be used by several goroutines at once, and needs no Close.
type Reader struct {
	kafka    *Kafka
	registry *Registry

	mu     sync.Mutex // guards codecs; held while the registry is asked, so that each schema is asked for once
	codecs map[shiftsync.SchemaID]foundCodec
}

// Decoded is a record that was read back.
type Decoded struct {
	Partition int
	Offset    int64
	Time      time.Time
	// Key and Value are the fields by name, as Fields returns them; nil if Err is about them, a Value also if
	// Tombstone.
	Key, Value             map[string]any
	KeySchema, ValueSchema shiftsync.SchemaID // 0: there is none
	KeyBytes, ValueBytes   int                // lengths as they were read
	Tombstone              bool
	Headers                map[string]string // of several with the same name the last
	Err                    error             // why the key or the value could not be decoded; quotes nothing of either
}

// ErrGone says that there is no record at an offset: compaction or retention took it, or the topic was recreated.
var ErrGone = errors.New("no record at this offset")

// Start is a place in the topic to read from.
type Start struct{ timestamp int64 }

// Beginning is the oldest record of each partition.
func Beginning() Start { return Start{kafka.FirstOffset} }

// End is behind the newest record of each partition.
func End() Start { return Start{kafka.LastOffset} }

// Since is, in each partition, the first record with this time or a later one.
func Since(at time.Time) Start { return Start{max(at.UnixMilli(), 0)} }

const (
	// pageBytes bounds what one fetch returns, as it lies in the log. A larger batch comes alone.
	pageBytes = 1 << 20
	// pollEvery is how long all the partitions of a lane together are waited for.
	pollEvery = 500 * time.Millisecond
)

// NewReader returns a reader of kafka's topic, whose connections it shares. Nothing is asked yet.
func NewReader(kafka *Kafka, registry *Registry) *Reader {
	return &Reader{kafka: kafka, registry: registry, codecs: make(map[shiftsync.SchemaID]foundCodec)}
}

// At returns one record. It is ErrGone if there is none, and Decoded.Err if it cannot be decoded; what else is known
// of it is then still returned.
func (r *Reader) At(ctx context.Context, partition int, offset int64) (Decoded, error) {
	where := fmt.Sprintf("partition %d, offset %d", partition, offset)
	// With a single byte asked for, the broker sends the one batch that the record is in.
	p, err := r.fetch(ctx, partition, offset, 1, time.Millisecond)
	if errors.Is(err, kafka.OffsetOutOfRange) {
		return Decoded{}, fmt.Errorf("%s: %w", where, ErrGone)
	}
	if err != nil {
		return Decoded{}, err
	}
	i := slices.IndexFunc(p.records, func(m message) bool { return m.offset == offset })
	if i < 0 {
		return Decoded{}, fmt.Errorf("%s: %w", where, ErrGone)
	}
	d := r.decode(ctx, &p.records[i])
	if d.Err != nil {
		return d, fmt.Errorf("%s: %w", where, d.Err)
	}
	return d, nil
}

// Follow hands the records of all partitions to each, those of a partition in their order and one at a time. With
// toEnd it returns nil when it has come to the log ends that stood when it began; else it goes on until ctx ends or
// each returns an error, and returns that. Partitions that are added meanwhile are not read.
func (r *Reader) Follow(ctx context.Context, from Start, toEnd bool, each func(Decoded) error) error {
	topic, err := r.kafka.Topic(ctx)
	if err != nil {
		return err
	}
	starts := topic.Ends
	if from != End() {
		if starts, err = r.starts(ctx, topic.Ends, from); err != nil {
			return err
		}
	}
	var cursors []*cursor
	for _, p := range slices.Sorted(maps.Keys(topic.Ends)) {
		if !toEnd || starts[p] < topic.Ends[p] {
			cursors = append(cursors, &cursor{partition: p, next: starts[p], end: topic.Ends[p]})
		}
	}
	var (
		turn sync.Mutex // guards each and over
		over bool       // each has returned an error: it is not called again, though other lanes hear of it later
	)
	lanes, ctx := errgroup.WithContext(ctx)
	for i := range min(atOnce, len(cursors)) {
		var mine []*cursor
		for k := i; k < len(cursors); k += atOnce {
			mine = append(mine, cursors[k])
		}
		lanes.Go(func() error {
			return r.follow(ctx, mine, toEnd, func(m *message) error {
				turn.Lock()
				defer turn.Unlock()
				if err := ctx.Err(); err != nil || over {
					return err
				}
				err := each(r.decode(ctx, m))
				over = err != nil
				return err
			})
		})
	}
	return lanes.Wait()
}

// cursor is how far a partition has been read.
type cursor struct {
	partition int
	next, end int64
}

// follow reads some partitions in turn.
func (r *Reader) follow(ctx context.Context, cursors []*cursor, toEnd bool, each func(*message) error) error {
	for len(cursors) > 0 {
		patience := pollEvery / time.Duration(len(cursors))
		for _, c := range cursors {
			p, err := r.fetch(ctx, c.partition, c.next, pageBytes, patience)
			if errors.Is(err, kafka.OffsetOutOfRange) {
				p, err = r.rejoin(ctx, c)
			}
			if err != nil {
				return err
			}
			for i := range p.records {
				if toEnd && p.records[i].offset >= c.end {
					break
				}
				if err := each(&p.records[i]); err != nil {
					return err
				}
			}
			c.next = p.next
		}
		cursors = slices.DeleteFunc(cursors, func(c *cursor) bool { return toEnd && c.next >= c.end })
	}
	return nil
}

// rejoin finds where to go on after the place to read from has vanished: retention was faster, or the topic is
// another one under the same name.
func (r *Reader) rejoin(ctx context.Context, c *cursor) (page, error) {
	first, err := r.starts(ctx, map[int]int64{c.partition: c.end}, Beginning())
	if err != nil {
		return page{}, err
	}
	next := first[c.partition]
	r.kafka.options.OnNotice(fmt.Sprintf("partition %d: offset %d is not there any more, going on from the oldest record, offset %d", c.partition, c.next, next))
	if next < c.next {
		c.end = min(c.end, next) // of another topic, whose end is not the one that stood at first
	}
	return page{next: next}, nil
}
