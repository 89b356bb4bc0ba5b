package shiftsync

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"
)

// answer is a part of what the source said: up to batchSize sightings.
type answer struct {
	sightings []Sighting
	json      []byte // holds theirs
}

func (a *answer) add(s Sighting) {
	begin := len(a.json)
	a.json = append(a.json, s.JSON...)
	s.JSON = a.json[begin:len(a.json):len(a.json)]
	a.sightings = append(a.sightings, s)
}

// read hands on what the source says, in parts. What came before an error is true and goes on.
func (p *pass) read(ctx context.Context, fail func(error), source func(context.Context, adder) error, out chan<- *answer) {
	defer close(out)
	seed := rawSeed(p.schemas, p.t.maxRecord)
	a := <-p.answers
	err := source(ctx, func(id int64, hash uint64, raw []byte) error {
		a.add(Sighting{ID: id, Raw: mix(hash, seed), JSON: raw})
		if len(a.sightings) < batchSize {
			return nil
		}
		out <- a
		a = <-p.answers
		return context.Cause(ctx)
	})
	out <- a
	if err != nil {
		fail(fmt.Errorf("read shifts: %w", err))
	}
}

// decider tells what of an answer is to be published, and collects it into batches.
type decider struct {
	*pass
	out     chan<- *batch
	batch   *batch // collects
	known   []Known
	fresh   []Sighting
	seen    []Seen
	doubted []doubtful
	trusted []int64            // seen as they are remembered, though another version of them was doubted
	held    map[int64]Sighting // came again while their id was flying; the newest counts
	shift   Shift
	intent  Intent // of the shift in hand
	bound   bool   // the account was compared
	account map[int64]int
	tally   Tally
	again   bool // the window is read a second time, for shifts that differ in nothing but their schema
}

// decide looks up what was read and hands on what differs. An id in flight holds back its next version: that one is
// decided against what the first one came to.
func (p *pass) decide(ctx context.Context, fail func(error), again bool, in <-chan *answer, out chan<- *batch) {
	defer close(out)
	d := &decider{pass: p, out: out, batch: <-p.batches, held: map[int64]Sighting{}, account: map[int64]int{}, again: again}
	var err error
	for a := range in {
		if err == nil && len(a.sightings) > 0 {
			d.tally = Tally{Fetched: len(a.sightings)}
			if err = d.decide(ctx, a.sightings); err == nil && len(d.held) >= batchSize {
				err = d.decideHeld(ctx)
			}
			if err != nil {
				fail(err)
			}
		}
		clear(a.sightings)
		a.sightings, a.json = a.sightings[:0], emptied(a.json)
		p.answers <- a
	}
	if err == nil {
		if err = d.decideHeld(ctx); err != nil {
			fail(err)
		}
	}
	d.flush()
	p.batches <- d.batch
}

// decideHeld decides what was held back, once nothing is in flight any more.
func (d *decider) decideHeld(ctx context.Context) error {
	for len(d.held) > 0 {
		d.drain()
		var again []Sighting
		for _, s := range d.held {
			again = append(again, s)
		}
		clear(d.held)
		for part := range slices.Chunk(again, batchSize) {
			if err := d.decide(ctx, part); err != nil {
				return err
			}
		}
	}
	return nil
}

// decide decides up to batchSize sightings.
func (d *decider) decide(ctx context.Context, sightings []Sighting) error {
	room := d.room()
	d.ground(sightings)
	d.known = slices.Grow(d.known[:0], len(d.fresh))[:len(d.fresh)]
	clear(d.known)
	if err := d.Store.Lookup(ctx, d.fresh, d.known); err != nil {
		return fmt.Errorf("look up %d shifts: %w", len(d.fresh), err)
	}
	d.seen, d.doubted, d.trusted = d.seen[:0], d.doubted[:0], d.trusted[:0]
	clear(d.account)
	acquainted := false // with a shift of this answer
	began, asides := len(d.batch.intents), len(d.batch.aside)
	for i, s := range d.fresh {
		if d.inFlight(s.ID) { // it came twice in this round
			d.hold(s)
			continue
		}
		k := d.known[i]
		switch glance(k, s.Raw) {
		case unchanged:
			acquainted = true
			if startless(k) {
				d.examine(ctx, s, k, &room)
				continue
			}
			d.tally.Unchanged++
			d.trust(k, s.ID)
			if k.Stale && !k.Pending {
				d.seen = append(d.seen, Seen{ID: s.ID, Fingerprint: k.Fingerprint, Raw: s.Raw})
			}
		case stillAside:
			d.tally.StillAside++
		default:
			d.examine(ctx, s, k, &room)
		}
	}
	if err := d.compareAccount(ctx, acquainted); err != nil {
		d.batch.intents, d.batch.aside, d.batch.letters = d.batch.intents[:began], d.batch.aside[:asides], d.batch.letters[:asides]
		return err
	}
	if err := d.weigh(ctx, &room); err != nil {
		return err
	}
	if len(d.trusted) > 0 {
		if err := d.Store.Undoubt(ctx, d.t.term, d.trusted); err != nil {
			return fmt.Errorf("end the doubt about %d shifts: %w", len(d.trusted), err)
		}
	}
	if len(d.seen) > 0 {
		if err := d.Store.Refresh(ctx, d.t.term, d.seen); err != nil {
			return fmt.Errorf("refresh %d shifts: %w", len(d.seen), err)
		}
	}
	if d.again { // all else was counted the first time
		d.tally = Tally{Deferred: d.tally.Deferred, Changed: d.tally.Changed, NotCollected: d.tally.NotCollected}
	}
	d.count(d.tally)
	d.tally = Tally{}
	if len(d.batch.intents)+len(d.batch.aside) >= batchSize {
		d.flush()
	}
	return nil
}

// examine reads a shift whose bytes are not known and decides by its content.
func (d *decider) examine(ctx context.Context, s Sighting, k Known, room *int) {
	in := &d.intent
	*in = Intent{Mark: d.t.marks}
	v, buf, err := d.judge(ctx, s, k, &d.shift, d.batch.buf, &in.Record)
	d.batch.buf = buf[:len(d.batch.buf)] // grown only by a record that is kept
	if d.shift.ID == s.ID {
		d.account[d.shift.AccountID]++
	}
	if err != nil && d.again {
		return // it was dealt with the first time, or will be in the next pass
	}
	if err != nil {
		d.tally.Unencodable++
		d.fly(s.ID)
		d.batch.aside = append(d.batch.aside, Settled{ID: s.ID, Version: Version{Raw: s.Raw}, Aside: err.Error()})
		d.batch.letters = append(d.batch.letters, d.letter(s, err))
		return
	}
	d.tally.Encoded++
	switch v {
	case unchanged:
		d.tally.Unchanged++
		return
	case reread:
		d.tally.Unchanged++
		d.trust(k, s.ID)
		d.seen = append(d.seen, Seen{ID: s.ID, Fingerprint: in.Fingerprint, Raw: s.Raw, StartTime: in.StartTime})
		return
	case schemaOnly:
		d.tally.SchemaOnly++
		if !d.again {
			return // real changes first
		}
		// Half of the limit is kept free for real changes.
		if *room <= d.PendingLimit/2 || !d.t.allowance.take(time.Now(), d.RepublishRate, d.RepublishRate*max(d.Sleep, allowanceSpan).Seconds()) {
			d.tally.Deferred++
			return
		}
	default:
		if older(in.Version, newest(k)) {
			d.doubt(*in, k.Pending)
			return
		}
		d.tally.Changed++
	}
	if d.collect(*in, k.Pending, room) {
		d.batch.buf = buf
	}
}

// collect takes an intent into the batch, if there is room for it. One that takes the place of another needs none.
func (d *decider) collect(in Intent, replaces bool, room *int) bool {
	if !replaces {
		if *room == 0 {
			d.tally.NotCollected++
			return false
		}
		*room--
	}
	d.fly(in.ID)
	d.batch.intents = append(d.batch.intents, in)
	return true
}

// letter is the dead letter of a shift that could not be made a record.
func (d *decider) letter(s Sighting, err error) DeadLetter {
	l := DeadLetter{ID: s.ID, Stage: StageParse, Reason: err.Error()}
	if s.ID != 0 && d.shift.ID == s.ID { // it was read
		l.Stage = StageEncode
	}
	if d.DeadLetters != nil { // else nobody will look at it
		begin := len(d.batch.buf)
		d.batch.buf = append(d.batch.buf, s.JSON...)
		l.Body = d.batch.buf[begin:len(d.batch.buf):len(d.batch.buf)]
	}
	return l
}

// judge makes a record of a shift whose bytes are not known, and decides by its content. An error is about this shift
// alone. It appends to buf and returns it grown.
func (w *Worker) judge(ctx context.Context, s Sighting, k Known, shift *Shift, buf []byte, into *Record) (verdict, []byte, error) {
	if err := w.Source.Parse(s.JSON, shift); err != nil {
		shift.ID = 0
		return unclear, buf, err
	}
	if shift.ID != s.ID {
		return unclear, buf, errors.New("its id cannot be read twice alike")
	}
	buf, err := w.Encoder.Encode(shift, buf, into)
	if err != nil {
		return unclear, buf, err
	}
	into.Raw = s.Raw
	return decide(k, into.Version, func(old SchemaID) bool {
		// A schema that cannot be had any more proves nothing: then it counts as a change, which goes out at once.
		f, err := w.Encoder.Fingerprint(ctx, shift, old)
		return err == nil && f == newest(k).Fingerprint
	}), buf, nil
}

// allowanceSpan is how much of Worker.RepublishRate may be used at once, at least.
const allowanceSpan = 10 * time.Second

// fly makes a second version of the same id wait. Shifts without an id have nothing in common.
func (d *decider) fly(id int64) {
	if id != 0 {
		d.mu.Lock()
		d.flying[id] = struct{}{}
		d.mu.Unlock()
	}
}

func (d *decider) inFlight(id int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, is := d.flying[id]
	return is
}

// ground fills fresh with the sightings of ids that are not in flight, and holds back the others. Behind one that is
// held back already, every later one has to wait too, or it would be overtaken by the older.
func (d *decider) ground(sightings []Sighting) {
	d.fresh = d.fresh[:0]
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range sightings {
		_, flying := d.flying[s.ID]
		_, waiting := d.held[s.ID]
		if flying || waiting {
			d.hold(s)
		} else {
			d.fresh = append(d.fresh, s)
		}
	}
}

func (d *decider) hold(s Sighting) {
	s.JSON = bytes.Clone(s.JSON)
	d.held[s.ID] = s
}

// room returns how many more intents may be opened in this round.
func (d *decider) room() int {
	d.mu.Lock()
	waiting := len(d.flying)
	d.mu.Unlock()
	if d.PendingLimit-int(d.t.open.Load())-waiting < batchSize {
		d.drain()
	}
	return max(0, d.PendingLimit-int(d.t.open.Load())-len(d.batch.intents))
}

// flush sends the batch on its way.
func (d *decider) flush() {
	if len(d.batch.intents) == 0 && len(d.batch.aside) == 0 {
		return
	}
	d.out <- d.batch
	d.batch = <-d.batches
	d.t.marks++
}

// drain waits until nothing is in flight.
func (d *decider) drain() {
	d.flush()
	all := make([]*batch, 0, cap(d.batches))
	for len(all) < cap(d.batches)-1 { // one is d.batch
		all = append(all, <-d.batches)
	}
	for _, b := range all {
		d.batches <- b
	}
}

// compareAccount refuses shifts of another account than the destination's. An answer that holds a shift which was
// seen here before is of the right account; of the others, the account of most shifts counts, once a pass.
func (d *decider) compareAccount(ctx context.Context, acquainted bool) error {
	if d.bound || acquainted {
		d.bound = true
		return nil
	}
	account := mostOf(d.account)
	if account == 0 {
		return nil
	}
	if err := d.Store.Bind(ctx, d.t.owner, Layout{Account: account}, d.AcceptLayout); err != nil {
		return fmt.Errorf("compare account: %w", err)
	}
	d.bound = true
	return nil
}

// mostOf returns the account that has most of the shifts; 0: none was told.
func mostOf(shifts map[int64]int) (account int64) {
	for id, n := range shifts {
		if id != 0 && n > shifts[account] {
			account = id
		}
	}
	return account
}

// startless tells whether a shift is remembered as the first releases did, without its start. Without it the shift seems
// to have begun already, and would be missed wherever it lies; so it is read once more, and the start remembered.
func startless(k Known) bool {
	return k.Remembered && k.StartTime.IsZero()
}

// newest is the newest version that is known.
func newest(k Known) Version {
	if k.Pending {
		return k.Intended
	}
	return k.Version
}

// rawSeed covers what decides, beside its bytes, how a shift is read, written and taken.
func rawSeed(s Schemas, maxRecord int) uint64 {
	h := fnv.New64a()
	_ = binary.Write(h, binary.BigEndian, []int64{int64(s.Key), int64(s.Value), int64(maxRecord)}) // to memory
	return h.Sum64()
}

// mix joins a hash with a seed. It is never 0, which stands for no hash.
func mix(hash, seed uint64) uint64 {
	return max(1, hash^seed)
}
