package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// reader reads the topic as a consumer does: with another Kafka client and another Avro library than the worker's.
type reader struct {
	world   *world.World
	client  *kgo.Client
	schemas map[uint32]avro.Schema
}

func newReader(w *world.World) (*reader, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(w.Kafka.Addrs...), kgo.ConsumeTopics(world.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("read the topic: %w", err)
	}
	return &reader{world: w, client: client, schemas: map[uint32]avro.Schema{}}, nil
}

func (r *reader) Close() { r.client.Close() }

// follow hands on what arrives, until ctx ends, and then closes to.
func (r *reader) follow(ctx context.Context, to chan<- []*kgo.Record) {
	defer close(to)
	for ctx.Err() == nil {
		if records := r.client.PollFetches(ctx).Records(); len(records) > 0 {
			to <- records
		}
	}
}

// written is how many records the topic has.
func (r *reader) written() int {
	n := 0
	for p := range partitions {
		if info := r.world.Kafka.PartitionInfo(world.Topic, int32(p)); info != nil {
			n += int(info.HighWatermark)
		}
	}
	return n
}

// decode returns a record's id and its fields, which are nil in a tombstone.
func (r *reader) decode(ctx context.Context, record *kgo.Record) (id int64, fields map[string]any, err error) {
	key, err := r.unframe(ctx, record.Key)
	if err != nil {
		return 0, nil, fmt.Errorf("key: %w", err)
	}
	id, ok := key["id"].(int64)
	if !ok {
		return 0, nil, errors.New("key: no id")
	}
	if record.Value == nil {
		return id, nil, nil
	}
	if fields, err = r.unframe(ctx, record.Value); err != nil {
		return id, nil, fmt.Errorf("value: %w", err)
	}
	return id, fields, nil
}

// unframe reads Confluent's wire format with the schema that the registry has under its id.
func (r *reader) unframe(ctx context.Context, framed []byte) (map[string]any, error) {
	if len(framed) < 5 || framed[0] != 0 {
		return nil, errors.New("not in Confluent's wire format")
	}
	id := binary.BigEndian.Uint32(framed[1:])
	if _, known := r.schemas[id]; !known {
		schema, err := r.schema(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("schema %d: %w", id, err)
		}
		r.schemas[id] = schema
	}
	var fields map[string]any
	if err := avro.Unmarshal(r.schemas[id], framed[5:], &fields); err != nil {
		return nil, err
	}
	return fields, nil
}

func (r *reader) schema(ctx context.Context, id uint32) (avro.Schema, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/schemas/ids/%d", r.world.Registry.URL(), id), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var found struct{ Schema string }
	if err := json.NewDecoder(resp.Body).Decode(&found); err != nil {
		return nil, err
	}
	return avro.ParseWithCache(found.Schema, "", &avro.SchemaCache{})
}
