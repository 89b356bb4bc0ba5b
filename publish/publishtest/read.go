package publishtest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Message is a record as a consumer sees it.
type Message struct {
	Partition int
	Offset    int64
	Key       []byte
	Value     []byte // nil: a tombstone
	Headers   map[string]string
	Time      time.Time
}

// ReadAll returns what is in the topic now, by partition and offset.
func ReadAll(ctx context.Context, brokers []string, topic string) ([]Message, error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", topic, err)
	}
	defer c.Close()
	ends, err := logEnds(ctx, c, topic)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", topic, err)
	}
	from := make(map[int32]kgo.Offset)
	for p, end := range ends {
		if end > 0 {
			from[p] = kgo.NewOffset().AtStart()
		}
	}
	c.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})

	var all []Message
	for len(from) > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset >= ends[r.Partition] {
				return // written since
			}
			m := Message{Partition: int(r.Partition), Offset: r.Offset, Key: r.Key, Value: r.Value, Time: r.Timestamp}
			m.Headers = make(map[string]string, len(r.Headers))
			for _, h := range r.Headers {
				m.Headers[h.Key] = string(h.Value)
			}
			all = append(all, m)
			if r.Offset == ends[r.Partition]-1 {
				delete(from, r.Partition)
			}
		})
	}
	slices.SortFunc(all, func(a, b Message) int {
		if a.Partition != b.Partition {
			return a.Partition - b.Partition
		}
		return int(a.Offset - b.Offset)
	})
	return all, nil
}

func logEnds(ctx context.Context, c *kgo.Client, topic string) (map[int32]int64, error) {
	meta := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	meta.Topics = append(meta.Topics, t)
	found, err := meta.RequestWith(ctx, c)
	if err != nil {
		return nil, err
	}
	asked := kmsg.NewListOffsetsRequestTopic()
	asked.Topic = topic
	for _, t := range found.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return nil, err
		}
		for _, p := range t.Partitions {
			one := kmsg.NewListOffsetsRequestTopicPartition()
			one.Partition, one.Timestamp = p.Partition, -1 // the end
			asked.Partitions = append(asked.Partitions, one)
		}
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.Topics = append(req.Topics, asked)
	ends := make(map[int32]int64)
	for _, shard := range c.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, err
				}
				ends[p.Partition] = p.Offset
			}
		}
	}
	return ends, nil
}
