package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// view shows what arrives in the topic, as a consumer reads it: with another Kafka client and another Avro library
// than the worker's.
type view struct {
	world   *world.World
	out     io.Writer
	client  *kgo.Client
	schemas map[uint32]avro.Schema
	last    map[int64]map[string]any
}

func newView(w *world.World, out io.Writer) (*view, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(w.Kafka.Addrs...), kgo.ConsumeTopics(world.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("read the topic: %w", err)
	}
	return &view{world: w, out: out, client: client, schemas: map[uint32]avro.Schema{}, last: map[int64]map[string]any{}}, nil
}

func (v *view) Close() { v.client.Close() }

// shownOfBurst is how many records of one burst are shown by themselves.
const shownOfBurst = 6

// follow shows what arrives until ctx ends.
func (v *view) follow(ctx context.Context) {
	for ctx.Err() == nil {
		v.show(v.client.PollFetches(ctx).Records())
	}
}

// showAll shows what is in the topic by now.
func (v *view) showAll(ctx context.Context) error {
	var all []*kgo.Record
	for expected := v.written(); len(all) < expected; {
		fetches := v.client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read the topic: %w", err)
		}
		all = append(all, fetches.Records()...)
	}
	v.show(all)
	return nil
}

// written is how many records the topic has.
func (v *view) written() int {
	n := 0
	for p := range 3 {
		if info := v.world.Kafka.PartitionInfo(world.Topic, int32(p)); info != nil {
			n += int(info.HighWatermark)
		}
	}
	return n
}

func (v *view) show(records []*kgo.Record) {
	for i, r := range records {
		if i == shownOfBurst && len(records) > shownOfBurst+1 {
			for _, rest := range records[i:] {
				_, _ = v.remember(rest)
			}
			fmt.Fprintf(v.out, "           … and %d more\n", len(records)-i)
			return
		}
		line, err := v.remember(r)
		if err != nil {
			line = "? " + err.Error()
		}
		fmt.Fprintf(v.out, "  %s  %s\n", time.Now().Format(time.TimeOnly), line)
	}
}

// remember decodes a record and returns what is new about it.
func (v *view) remember(r *kgo.Record) (string, error) {
	key, err := v.decode(r.Key)
	if err != nil {
		return "", err
	}
	value, err := v.decode(r.Value)
	if err != nil {
		return "", err
	}
	id, ok := key["id"].(int64)
	if !ok {
		return "", errors.New("the key has no id")
	}
	before, known := v.last[id]
	v.last[id] = value
	where := fmt.Sprintf("shift %-10d partition %d offset %-4d", id, r.Partition, r.Offset)
	if !known {
		return fmt.Sprintf("+ %s %s to %s  %s", where, value["start_time"], value["end_time"], value["notes"]), nil
	}
	var changes []string
	for field, now := range value {
		if was := before[field]; fmt.Sprint(was) != fmt.Sprint(now) && field != "updated_at" {
			changes = append(changes, fmt.Sprintf("%s %v → %v", field, was, now))
		}
	}
	slices.Sort(changes)
	return fmt.Sprintf("~ %s %s", where, strings.Join(changes, ", ")), nil
}

// decode reads Confluent's wire format with the schema that the registry has under its id.
func (v *view) decode(framed []byte) (map[string]any, error) {
	if len(framed) < 5 || framed[0] != 0 {
		return nil, errors.New("not in Confluent's wire format")
	}
	id := binary.BigEndian.Uint32(framed[1:])
	schema, known := v.schemas[id]
	if !known {
		resp, err := http.Get(fmt.Sprintf("%s/schemas/ids/%d", v.world.Registry.URL(), id))
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		var found struct{ Schema string }
		if err := json.NewDecoder(resp.Body).Decode(&found); err != nil {
			return nil, err
		}
		if schema, err = avro.ParseWithCache(found.Schema, "", &avro.SchemaCache{}); err != nil {
			return nil, err
		}
		v.schemas[id] = schema
	}
	var out map[string]any
	if err := avro.Unmarshal(schema, framed[5:], &out); err != nil {
		return nil, err
	}
	return out, nil
}
