//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// violation is a broken promise.
type violation struct{ text string }

func (v *violation) Error() string { return v.text }

func violated(format string, args ...any) error { return &violation{fmt.Sprintf(format, args...)} }

// oracle reads the topic, with another client and another decoder than the worker's, and holds each record against the
// truth: what a record says has to be what the API said, and the records of a key have to follow each other as the API's
// versions did. Skipping some is fair, going back is not.
type oracle struct {
	truth    *truth
	client   *kgo.Client
	registry string // URL
	schemas  map[uint32]avro.Schema

	mu    sync.Mutex // guards what follows
	tally arrivals
}

// arrivals is what has been counted in the topic.
type arrivals struct {
	records int
	repeats int // records that say what the record of their key before them says
}

// arrival is a record in the topic.
type arrival struct {
	version   int // its index in the history; -1: there is none yet
	partition int32
	offset    int64
	at        time.Time // when it was formed
	pass      string
	hash      string
}

func (a arrival) String() string {
	return fmt.Sprintf("%d/%d of %s, pass %s, which is version %d", a.partition, a.offset, a.at.Format("15:04:05.000"), a.pass, a.version)
}

// newOracle returns an oracle that has read nothing yet.
func newOracle(t *truth, s *stack) (*oracle, error) {
	all := map[int32]kgo.Offset{}
	for p := range int32(6) {
		all[p] = kgo.NewOffset().AtStart()
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(s.brokers.Addrs...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: all}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // what was read and is gone was cut off, which must not pass unseen
		kgo.FetchMaxWait(250*time.Millisecond),
	)
	if err != nil {
		return nil, fmt.Errorf("oracle: %w", err)
	}
	return &oracle{truth: t, client: client, registry: s.registry.URL(), schemas: map[uint32]avro.Schema{}}, nil
}

// read reads until ctx ends or a promise is broken.
func (o *oracle) read(ctx context.Context) error {
	defer o.client.Close()
	for ctx.Err() == nil {
		fetches := o.client.PollFetches(ctx)
		var lost *kgo.ErrDataLoss
		for _, e := range fetches.Errors() {
			if errors.As(e.Err, &lost) {
				return violated("the topic lost what it had: %v", e.Err)
			}
		}
		for _, r := range fetches.Records() {
			if err := o.take(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// arrived returns the counts so far.
func (o *oracle) arrived() arrivals {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tally
}

// take holds one record against the truth.
func (o *oracle) take(r *kgo.Record) error {
	where := fmt.Sprintf("record %d/%d", r.Partition, r.Offset)
	key, err := o.decode(r.Key)
	if err != nil {
		return violated("%s: its key cannot be read: %v", where, err)
	}
	value, err := o.decode(r.Value)
	if err != nil {
		return violated("%s: its value cannot be read: %v", where, err)
	}
	id, _ := key["id"].(int64)
	notes, _ := value["notes"].(string)
	l, ok := labelIn(notes)
	if !ok {
		return violated("%s of shift %d: its notes are not the API's", where, id)
	}
	now := arrival{partition: r.Partition, offset: r.Offset, at: r.Timestamp}
	for _, h := range r.Headers {
		switch h.Key {
		case "slotsync-pass":
			now.pass = string(h.Value)
		case "slotsync-hash":
			now.hash = string(h.Value)
		}
	}
	repeat, err := o.truth.arrive(id, l, now, value)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tally.records++
	if repeat {
		o.tally.repeats++
	}
	return nil
}

// arrive notes the newest record of a key, and tells whether it says once more what the one before it says.
func (t *truth) arrive(id int64, l label, now arrival, value map[string]any) (repeat bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.byID[id]
	if s == nil {
		return false, violated("record %d/%d is of shift %d, which the API never had", now.partition, now.offset, id)
	}
	before := s.last
	first := before.version < 0
	for now.version = max(0, before.version); now.version < len(s.versions) && s.versions[now.version].label != l; {
		now.version++
	}
	broken := func(format string, args ...any) error {
		return violated("%s: record %d/%d (label %d, formed %s, pass %s) %s; %s", "out of order", now.partition, now.offset, l,
			now.at.Format("15:04:05.000"), now.pass, fmt.Sprintf(format, args...), s.history())
	}
	switch {
	case now.version == len(s.versions):
		return false, broken("is of an older version than the record before it, or of none")
	case s.versions[now.version].at > now.at.UnixMilli():
		return false, broken("was formed before the API said so for the second time: it is of an older version")
	case !first && before.partition != now.partition:
		return false, broken("is in another partition than the record before it")
	}
	repeat = !first && s.versions[before.version].label == l
	if repeat != (!first && before.hash == now.hash) {
		return false, broken("has hash %s after %s", now.hash, before.hash)
	}
	if name, got, want := difference(value, s.shape.Fit(s.content(l))); name != "" {
		return false, violated("wrong content: record %d/%d has %s %v, want %v; %s", now.partition, now.offset, name, got, want, s.history())
	}
	s.last = now
	return repeat, nil
}

// difference returns a field of a record that does not say what the shift says.
func difference(record map[string]any, s shiftsync.Shift) (name string, got, want any) {
	date := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2006-01-02T15:04:05Z")
	}
	for name, want := range map[string]any{
		"id": s.ID, "account_id": s.AccountID, "user_id": s.UserID, "location_id": s.LocationID, "position_id": s.PositionID,
		"site_id": s.SiteID, "creator_id": s.CreatorID, "block_id": s.BlockID, "instances": s.Instances, "break_time": int64(s.BreakTime),
		"notes": s.Notes, "color": s.Color, "shiftchain_key": s.ShiftchainKey,
		"is_open": s.IsOpen, "published": s.Published, "alerted": s.Alerted, "actionable": s.Actionable,
		"start_time": date(s.StartTime), "end_time": date(s.EndTime), "created_at": date(s.CreatedAt), "updated_at": date(s.UpdatedAt),
	} {
		if got := record[name]; !reflect.DeepEqual(got, want) {
			return name, got, want
		}
	}
	return "", nil, nil
}

// decode reads what is in Confluent's wire format: a zero, the schema's id, and Avro.
func (o *oracle) decode(b []byte) (map[string]any, error) {
	if len(b) < 5 || b[0] != 0 {
		return nil, errors.New("not in the wire format")
	}
	schema, err := o.schema(binary.BigEndian.Uint32(b[1:]))
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	return fields, avro.Unmarshal(schema, b[5:], &fields)
}

func (o *oracle) schema(id uint32) (avro.Schema, error) {
	if s := o.schemas[id]; s != nil {
		return s, nil
	}
	res, err := http.Get(fmt.Sprintf("%s/schemas/ids/%d", o.registry, id))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var answer struct{ Schema string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return nil, err
	}
	s, err := avro.Parse(answer.Schema)
	if err == nil {
		o.schemas[id] = s
	}
	return s, err
}
