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
	accounts *accounts
	client   *kgo.Client
	registry string // URL
	schemas  map[uint32]avro.Schema
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
func newOracle(t *truth, a *accounts, s *stack) (*oracle, error) {
	client, err := newReader(s, topic)
	if err != nil {
		return nil, fmt.Errorf("oracle: %w", err)
	}
	return &oracle{truth: t, accounts: a, client: client, registry: s.registry.URL(), schemas: map[uint32]avro.Schema{}}, nil
}

// newReader returns what reads all of a topic.
func newReader(s *stack, topic string) (*kgo.Client, error) {
	all := map[int32]kgo.Offset{}
	for p := range int32(6) {
		all[p] = kgo.NewOffset().AtStart()
	}
	return kgo.NewClient(
		kgo.SeedBrokers(s.brokers.Addrs...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: all}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // what was read and is gone was cut off, which must not pass unseen
		kgo.FetchMaxWait(250*time.Millisecond),
	)
}

// read reads until ctx ends or a promise is broken.
func (o *oracle) read(ctx context.Context) error { return readAll(ctx, o.client, o.take) }

// readAll hands on what a reader reads until ctx ends or take is not content.
func readAll(ctx context.Context, client *kgo.Client, take func(*kgo.Record) error) error {
	defer client.Close()
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		var lost *kgo.ErrDataLoss
		for _, e := range fetches.Errors() {
			if errors.As(e.Err, &lost) {
				return violated("the topic lost what it had: %v", e.Err)
			}
		}
		for _, r := range fetches.Records() {
			if err := take(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// take holds one record against the truth.
func (o *oracle) take(r *kgo.Record) error {
	where := fmt.Sprintf("record %d/%d", r.Partition, r.Offset)
	key, err := o.decode(r.Key)
	if err != nil {
		return violated("%s: its key cannot be read: %v", where, err)
	}
	id, _ := key["id"].(int64)
	l := tombstone
	var value map[string]any
	if r.Value != nil {
		if value, err = o.decode(r.Value); err != nil {
			return violated("%s: its value cannot be read: %v", where, err)
		}
		notes, _ := value["notes"].(string)
		var ok bool
		if l, ok = labelIn(notes); !ok {
			return violated("%s of shift %d: its notes are not the API's", where, id)
		}
	}
	now := arrival{partition: r.Partition, offset: r.Offset, at: r.Timestamp}
	for _, h := range r.Headers {
		switch h.Key {
		case headerPass:
			now.pass = string(h.Value)
		case "slotsync-hash":
			now.hash = string(h.Value)
		}
	}
	repeat, err := o.truth.arrive(id, l, now, value)
	if err != nil {
		return err
	}
	return o.accounts.record(now.pass, l, repeat)
}

const headerPass = "slotsync-pass"

// arrive notes the newest record of a key, and returns what it repeats if it says once more what the one before it says.
// Nil is the value of a tombstone.
func (t *truth) arrive(id int64, l label, now arrival, value map[string]any) (*repeat, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.byID[id]
	if s == nil {
		return nil, violated("record %d/%d is of shift %d, which the API never had", now.partition, now.offset, id)
	}
	before := s.last
	first := before.version < 0
	for now.version = max(0, before.version); now.version < len(s.versions) && s.versions[now.version].label != l; {
		now.version++
	}
	what := "out of order"
	if l == tombstone {
		what = "a tombstone without the API's word"
	}
	broken := func(format string, args ...any) error {
		return violated("%s: record %d/%d (version %s, formed %s, pass %s) %s; %s", what, now.partition, now.offset, l,
			now.at.Format("15:04:05.000"), now.pass, fmt.Sprintf(format, args...), s.history())
	}
	switch {
	case l == tombstone && t.deletes != deletesTombstone:
		return nil, broken("came while SYNC_DELETES was %s", t.deletes)
	case now.version == len(s.versions):
		return nil, broken("is of an older version than the record before it, or of none")
	case s.versions[now.version].at > now.at.UnixMilli():
		return nil, broken("was formed before the API said so, or said so again: it is of an older version")
	case l.kind().bad():
		return nil, broken("is bad, and should be a dead letter")
	case !first && before.partition != now.partition:
		return nil, broken("is in another partition than the record before it")
	}
	again := !first && s.versions[before.version].label == l
	if again != (!first && before.hash == now.hash) {
		return nil, broken("has hash %s after %s", now.hash, before.hash)
	}
	if l != tombstone {
		if name, got, want := difference(value, s.shape.Fit(s.content(l))); name != "" {
			return nil, violated("wrong content: record %d/%d has %s %v, want %v; %s", now.partition, now.offset, name, got, want, s.history())
		}
	}
	var r *repeat
	if again {
		r = &repeat{shift: s, label: l, first: before, again: now, forgotten: s.forgotten.between(before.at, now.at), changed: s.changedBetween(before, now)}
	}
	s.last = now
	return r, nil
}

// changedBetween returns when the API first said something else between two records that say the same; zero: it did not.
// A version that could not be published may have been taken back meanwhile, and nobody can know that it never arrived.
func (s *shift) changedBetween(first, again arrival) time.Time {
	for i := first.version + 1; i+1 < len(s.versions); i++ {
		if s.versions[i+1].at > again.at.UnixMilli() {
			break
		}
		if s.versions[i+1].label == s.versions[first.version].label {
			return time.UnixMilli(s.versions[first.version+1].at)
		}
	}
	return time.Time{}
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
