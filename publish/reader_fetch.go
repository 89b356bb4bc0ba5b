package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// page is what one fetch returned.
type page struct {
	records []message // none before the offset that was asked for
	next    int64     // the offset to ask for next
}

// message is a record as it lies in the log.
type message struct {
	partition  int
	offset     int64
	time       time.Time
	key, value []byte // nil: null
	headers    []protocol.Header
}

// fetch returns what stands at the offset and behind it, and waits for it for as long as patience if there is nothing.
func (r *Reader) fetch(ctx context.Context, partition int, offset, maxBytes int64, patience time.Duration) (page, error) {
	k := r.kafka
	what := fmt.Sprintf("kafka: topic %s: fetch partition %d from offset %d", k.topic, partition, offset)
	res, err := ask(ctx, k.options.Limit, what, func(ctx context.Context) (*kafka.FetchResponse, error) {
		res, err := k.client.Fetch(ctx, &kafka.FetchRequest{
			Topic:     k.topic,
			Partition: partition,
			Offset:    offset,
			MinBytes:  1, // the zero value is an answer at once, over and over
			MaxBytes:  maxBytes,
			MaxWait:   patience,
		})
		if err == nil {
			err = res.Error
		}
		switch {
		case errors.Is(err, kafka.TopicAuthorizationFailed):
			err = fmt.Errorf("%w: the right Read on the topic is needed", kafka.TopicAuthorizationFailed)
		case errors.Is(err, protocol.ErrNoPartition):
			err = backoff.Permanent(errors.New("there is no such partition"))
		case err != nil:
			err = brief(err)
		}
		return res, err
	})
	if err != nil {
		return page{}, err
	}
	p, err := readPage(res.Records, partition, offset)
	if err != nil {
		return page{}, fmt.Errorf("%s: %w", what, err)
	}
	return p, nil
}

// readPage takes the batches of an answer apart.
//
// The broker sends the batch that the offset lies in, and it may have nothing at it or behind it: a transaction's
// control batch, a batch whose last records were compacted away, or one that was emptied and is kept for its
// producer's sequence. kafka-go does not tell where such a batch ends, so one offset at a time is stepped over; the
// batches behind it, which mostly come in the same answer, say more.
func readPage(records kafka.RecordReader, partition int, offset int64) (page, error) {
	p := page{next: offset}
	stream, ok := records.(*protocol.RecordStream)
	if !ok {
		return p, nil // no batch at all
	}
	for _, batch := range stream.Records {
		p.next = max(p.next, offset+1)
		_, control := batch.(*protocol.ControlBatch)
		for {
			rec, err := batch.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return p, err
			}
			m, err := take(rec)
			if err != nil {
				return p, err
			}
			p.next = max(p.next, m.offset+1)
			if !control && m.offset >= offset {
				m.partition = partition
				p.records = append(p.records, m)
			}
		}
		if b, ok := batch.(*protocol.RecordBatch); ok {
			p.next = max(p.next, b.BaseOffset+1)
		}
	}
	return p, nil
}

// take copies a record out of the library's memory and gives that back.
func take(rec *protocol.Record) (message, error) {
	m := message{offset: rec.Offset, time: rec.Time, headers: rec.Headers}
	var errs [2]error
	for i, part := range []struct {
		from protocol.Bytes
		to   *[]byte
	}{{rec.Key, &m.key}, {rec.Value, &m.value}} {
		if part.from == nil {
			continue
		}
		*part.to, errs[i] = protocol.ReadAll(part.from)
		_ = part.from.Close() // only gives memory back
	}
	return m, errors.Join(errs[:]...)
}

// starts asks for the offsets to begin at. Where there is nothing as new as that, it is the end.
func (r *Reader) starts(ctx context.Context, ends map[int]int64, from Start) (map[int]int64, error) {
	k := r.kafka
	return ask(ctx, k.options.Limit, "kafka: topic "+k.topic+": find offsets to begin at", func(ctx context.Context) (map[int]int64, error) {
		found := maps.Clone(ends)
		for some := range slices.Chunk(slices.Sorted(maps.Keys(ends)), atOnce) {
			asked := make([]kafka.OffsetRequest, len(some))
			for i, p := range some {
				asked[i] = kafka.OffsetRequest{Partition: p, Timestamp: from.timestamp}
			}
			res, err := k.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{k.topic: asked}})
			if err != nil {
				return nil, brief(err)
			}
			for _, p := range res.Topics[k.topic] {
				switch {
				case p.Error != nil:
					return nil, fmt.Errorf("partition %d: %w", p.Partition, brief(p.Error))
				case from == Beginning():
					found[p.Partition] = p.FirstOffset
				}
				for offset := range p.Offsets { // the one for the time that was asked for
					if offset >= 0 {
						found[p.Partition] = offset
					}
				}
			}
		}
		return found, nil
	})
}
