package shiftsync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Plan is one thing that a pass would do.
type Plan struct {
	ID     int64
	Why    Why
	Reason string // why it would be set aside
	Known  Known  // what is known of the shift
	Record Record // what would be published, as far as it is known; valid during the call
}

// Why is the reason for a Plan.
type Why uint8

const (
	WhyNew     Why = iota + 1 // nothing is remembered of it
	WhyChanged                // its content is another one than that which is remembered or intended
	WhySchema                 // its content is the same, and would be written with another schema
	WhyPending                // an intent stands
	WhyAside                  // it cannot be made a record, and would be set aside
	WhyWanted                 // somebody wants it again, and the window did not bring it: it would be read by itself
	WhyMissing                // it is remembered, and the window did not bring it: it would be read by itself
	WhyOlder                  // it is older than what is known, and would be held back until another pass has seen it too
)

// Preview reads the window and tells of everything that a pass would publish or set aside. It writes nothing and
// needs no lease. Of the shifts that would be published it holds a few dozen bytes each, to know them again if they
// come twice. Of those that are missing it asks for none, and tells of no more than a pass would ask for.
//
// The Report counts as that of a pass does, as far as a pass had come without publishing. An error means that the
// answer was not read whole, or that a pass could decide nothing; a *LayoutError, that a pass would be refused. With
// ErrTooManyBad a pass would publish what is told and fail nevertheless: the Report is whole then.
func (w *Worker) Preview(ctx context.Context, tell func(Plan) error) (rep Report, err error) {
	began := time.Now()
	v := preview{Worker: w, tell: tell, planned: map[int64]Version{}, account: map[int64]int{}}
	err = v.run(ctx, began)
	v.rep.Took = time.Since(began)
	return v.rep, err
}

type preview struct {
	*Worker
	tell    func(Plan) error
	rep     Report
	anew    bool // nothing that is remembered counts
	bound   Layout
	account map[int64]int // of the shifts that were parsed
	met     bool          // a shift that is remembered
	planned map[int64]Version
	roll    roll

	sightings []Sighting
	known     []Known
	json, buf []byte
	shift     Shift
}

func (v *preview) run(ctx context.Context, now time.Time) (err error) {
	if v.rep.Window, err = WindowAround(now, v.DaysPrior, v.DaysAhead); err != nil {
		return err
	}
	schemas, err := v.Encoder.Prepare(ctx, true)
	if err != nil {
		return fmt.Errorf("prepare schemas: %w", err)
	}
	v.rep.Notices = schemas.Notices
	maxRecord, err := v.inspect(ctx, schemas)
	if err != nil {
		return err
	}
	if err := v.open(ctx); err != nil {
		return err
	}

	seed := rawSeed(schemas, maxRecord)
	err = v.Source.Read(ctx, v.rep.Window, func(id int64, hash uint64, raw []byte) error {
		if v.Deletes != DeletesOff {
			v.roll.seen.add(id)
		}
		begin := len(v.json)
		v.json = append(v.json, raw...)
		v.sightings = append(v.sightings, Sighting{ID: id, Raw: mix(hash, seed), JSON: v.json[begin:len(v.json):len(v.json)]})
		if len(v.sightings) < batchSize {
			return nil
		}
		return v.round(ctx)
	})
	if err == nil {
		err = v.round(ctx)
	}
	if err == nil {
		err = v.wishes(ctx)
	}
	if err == nil {
		err = v.missing(ctx)
	}
	if err == nil && !v.met {
		err = v.refuse(v.bound.Differences(Layout{Account: mostOf(v.account)}))
	}
	if err == nil {
		err = v.weigh()
	}
	return err
}

// weigh judges bad shifts as a pass does. Those that the broker would refuse are not known.
func (v *preview) weigh() error {
	if err := v.rep.tooManyBad(v.BadShare); err != nil {
		return fmt.Errorf("a pass would be refused: %w", err)
	}
	return nil
}

// refuse returns the error with which a pass would refuse another layout, or takes it for granted if it was accepted.
func (v *preview) refuse(differs []error) error {
	switch {
	case len(differs) == 0:
		return nil
	case v.AcceptLayout:
		v.anew = true
		return nil
	}
	return fmt.Errorf("a pass would be refused: %w", errors.Join(differs...))
}

// wishes tells of shifts that are wanted again and that the window did not bring.
func (v *preview) wishes(ctx context.Context) error {
	wanted, err := v.Store.Wanted(ctx, wantedLook)
	if err != nil {
		return fmt.Errorf("look up wanted shifts: %w", err)
	}
	for _, id := range wanted {
		if _, planned := v.planned[id]; planned {
			continue
		}
		if err := v.tell(Plan{ID: id, Why: WhyWanted}); err != nil {
			return err
		}
	}
	return nil
}

// missing tells of shifts that the window should have brought.
func (v *preview) missing(ctx context.Context) error {
	if v.Deletes == DeletesOff || v.anew {
		return nil
	}
	if err := v.roll.compare(ctx, v.Worker, v.rep.Window, WantedBatch); err != nil {
		return fmt.Errorf("look for missing shifts: %w", err)
	}
	v.rep.Called, v.rep.Missing = true, v.roll.missing
	if v.roll.missing > 0 && v.roll.guarded(v.GoneShare) {
		v.rep.Notices = append(v.rep.Notices, v.roll.warning(v.GoneShare))
	}
	for _, a := range slices.Concat(v.roll.asking, v.roll.ended) {
		if err := v.tell(Plan{ID: a.ID, Why: WhyMissing}); err != nil {
			return err
		}
	}
	return nil
}

// inspect finds out whether a pass would be refused, or would publish everything anew.
func (v *preview) inspect(ctx context.Context, schemas Schemas) (maxRecord int, err error) {
	if v.bound, err = v.Store.Bound(ctx); err != nil {
		return 0, fmt.Errorf("load layout: %w", err)
	}
	acknowledged, err := v.Store.Ends(ctx)
	if err != nil {
		return 0, fmt.Errorf("load acknowledged offsets: %w", err)
	}
	topic, err := v.Publisher.Topic(ctx)
	if err != nil {
		return 0, fmt.Errorf("look at topic: %w", err)
	}
	now := Layout{Partitions: len(topic.Ends), Fixed: v.Partition, KeySchema: schemas.Key}
	if err := v.refuse(v.bound.Differences(now)); err != nil {
		return 0, err
	}
	for partition, offset := range acknowledged {
		if end, there := topic.Ends[partition]; !there || end <= offset {
			v.anew = true
			v.rep.Notices = append(v.rep.Notices, fmt.Sprintf("the topic was recreated or cut: partition %d ends at offset %d, "+
				"but offset %d was acknowledged", partition, end, offset))
			break
		}
	}
	return topic.MaxRecordBytes, nil
}

// open tells of what stands in an intent. It goes out first, whatever the API says now.
func (v *preview) open(ctx context.Context) error {
	seen := map[int64]struct{}{}
	for cursor := uint64(0); ; {
		intents, next, err := v.Store.Open(ctx, cursor)
		if err != nil {
			return fmt.Errorf("load open intents: %w", err)
		}
		for i := range intents {
			in := &intents[i]
			if _, twice := seen[in.ID]; twice {
				continue
			}
			seen[in.ID] = struct{}{}
			v.rep.Pending++
			plan := Plan{ID: in.ID, Why: WhyPending, Known: Known{Pending: true, Intended: in.Version}, Record: in.Record}
			if err := v.tell(plan); err != nil {
				return err
			}
		}
		if next == 0 {
			return nil
		}
		cursor = next
	}
}

// round decides the sightings that were collected.
func (v *preview) round(ctx context.Context) error {
	defer func() { v.sightings, v.json, v.buf = v.sightings[:0], v.json[:0], v.buf[:0] }()
	v.known = append(v.known[:0], make([]Known, len(v.sightings))...)
	if err := v.Store.Lookup(ctx, v.sightings, v.known); err != nil {
		return fmt.Errorf("look up %d shifts: %w", len(v.sightings), err)
	}
	v.rep.Fetched += len(v.sightings)
	for i, s := range v.sightings {
		k := v.known[i]
		if v.anew {
			k.Remembered, k.Version = false, Version{}
		}
		if version, twice := v.planned[s.ID]; twice {
			k.Pending, k.Intended = true, version
		}
		if err := v.decide(ctx, s, k); err != nil {
			return err
		}
	}
	return nil
}

func (v *preview) decide(ctx context.Context, s Sighting, k Known) error {
	switch glance(k, s.Raw) {
	case unchanged:
		v.met = true
		v.rep.Unchanged++
		return nil
	case stillAside:
		v.rep.StillAside++
		return nil
	}
	plan := Plan{ID: s.ID, Known: k}
	verdict, buf, err := v.judge(ctx, s, k, &v.shift, v.buf, &plan.Record)
	v.buf = buf
	if v.shift.ID == s.ID {
		v.account[v.shift.AccountID]++
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		v.rep.Unencodable++
		v.rep.SetAside++
		plan.Why, plan.Reason = WhyAside, err.Error()
	case verdict == unchanged, verdict == reread:
		v.rep.Unchanged++
		return nil
	case verdict == schemaOnly:
		v.rep.SchemaOnly++
		plan.Why = WhySchema
	case older(plan.Record.Version, newest(k)):
		v.rep.HeldBack++
		plan.Why = WhyOlder
	case k.Remembered || k.Pending:
		v.rep.Changed++
		plan.Why = WhyChanged
	default:
		v.rep.Changed++
		plan.Why = WhyNew
	}
	if err == nil {
		v.rep.Encoded++
	}
	if err == nil && plan.Why != WhyOlder {
		v.planned[s.ID] = plan.Record.Version
	}
	return v.tell(plan)
}
