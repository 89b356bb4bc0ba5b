package shiftsync

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// batchSize is how many shifts are looked up, or published, together.
const batchSize = 500

// errStopped ends a pass because the worker was asked to stop.
var errStopped = fmt.Errorf("stopped before the answer was read whole: %w", context.Canceled)

// pass does one pass: it settles what earlier ones left open, and then makes of the window's shifts a stream of
// batches that goes through the stages of the pipeline,
//
//	read → decide → intend → publish → remember
//
// each of them one goroutine, with at most a batch or two between them.
func (w *Worker) pass(stop, ctx context.Context, t *tenure) (rep Report, err error) {
	began := time.Now()
	p := newPass(w, t)
	defer func() {
		rep = p.report()
		rep.Took = time.Since(began)
	}()
	if p.window, err = WindowAround(began, w.DaysPrior, w.DaysAhead); err != nil {
		return rep, err
	}
	topic, err := p.look(ctx)
	if err != nil {
		return rep, err
	}
	if p.schemas, err = w.Encoder.Prepare(ctx, p.takesOver()); err != nil {
		return rep, fmt.Errorf("prepare schemas: %w", err)
	}
	if err := p.inspect(ctx, topic); err != nil {
		return rep, err
	}
	if err := p.countLetters(ctx); err != nil {
		return rep, err
	}
	if err := p.settle(stop, ctx); err != nil {
		return rep, err
	}
	err = p.keepInStep(stop, ctx)
	// Letters do not wait for the source, nor does anything good wait for them.
	if e := p.bury(stop, ctx); err == nil {
		err = e
	}
	if err != nil {
		return rep, err
	}
	result := p.result()
	if p.swept, err = p.Store.Sweep(ctx, p.t.term, max(p.Keep, p.window.End.Sub(p.window.Start)), result == nil); err != nil {
		return rep, fmt.Errorf("sweep: %w", err)
	}
	return rep, result
}

// keepInStep deals with the window, and with what else was asked for.
func (p *pass) keepInStep(stop, ctx context.Context) error {
	p.Observer.Reading()
	wanted, err := p.Store.Wanted(ctx, wantedLook)
	if err != nil {
		return fmt.Errorf("look up wanted shifts: %w", err)
	}
	if err := p.openRoll(ctx); err != nil {
		return err
	}
	if err := p.stream(stop, ctx, false, p.readAndMark); err != nil {
		return err
	}
	p.listed = p.report().Fetched
	if err := p.republish(stop, ctx); err != nil {
		return err
	}
	asked, gone, err := p.fetchWanted(stop, ctx, wanted)
	if err != nil {
		return err
	}
	if err := p.declareWanted(ctx, gone); err != nil {
		return err
	}
	return p.callRoll(stop, ctx, WantedBatch-asked)
}

// adder takes what a Source hands on.
type adder = func(id int64, hash uint64, raw []byte) error

func (p *pass) readWindow(ctx context.Context, add adder) error {
	return p.Source.Read(ctx, p.window, add)
}

// republish reads the window once more, for the shifts that differ in nothing but the schema that they were written
// with: now that all real changes are on their way. While the broker is away there is no hurry to collect them.
func (p *pass) republish(stop, ctx context.Context) error {
	p.mu.Lock()
	differ, outage := p.total.SchemaOnly, p.outage
	p.mu.Unlock()
	if outage != nil {
		p.count(Tally{Deferred: differ})
		return nil
	}
	if differ == 0 {
		return nil
	}
	return p.stream(stop, ctx, true, p.readWindow)
}

// stream sends what a source says through the stages.
func (p *pass) stream(stop, ctx context.Context, again bool, source func(context.Context, adder) error) error {
	// A stage that fails ends the reading, and what is in hand goes on: a batch that was acknowledged has to be
	// remembered even if the next one could not be read. What failed first is the cause that reading ended with.
	reading, fail := context.WithCancelCause(stop)
	defer fail(nil)
	var (
		stages   sync.WaitGroup
		read     = make(chan *answer, 1)
		decided  = make(chan *batch, 1)
		intended = make(chan *batch, 1)
		answered = make(chan *batch, 1)
	)
	stages.Go(func() { p.read(reading, fail, source, read) })
	stages.Go(func() { p.decide(ctx, fail, again, read, decided) })
	stages.Go(func() { p.stage(ctx, fail, decided, p.intend, intended) })
	stages.Go(func() { p.stage(ctx, fail, intended, p.publish, answered) })
	stages.Go(func() { p.stage(ctx, fail, answered, p.remember, nil) })
	stages.Wait()

	err := context.Cause(reading)
	if err != nil && stop.Err() != nil && p.t.Err() == nil && err == context.Cause(stop) {
		err = errStopped
	}
	return err
}

// pass is the state of one pass.
type pass struct {
	*Worker
	t       *tenure
	id      string
	window  Window
	schemas Schemas
	notices []string
	swept   int
	burial  burial
	away    bool // the broker did not answer when the pass began: what changed is collected, and waits for the next pass

	listed  int       // shifts in the answer about the window
	asking  time.Time // when the first shift was read one by one
	roll    *roll     // nil: it is not called in this pass
	called  bool      // Report.Called
	missing int       // Report.Missing
	gone    []int64   // Report.GoneIDs

	memory

	mu     sync.Mutex         // guards what is below
	flying map[int64]struct{} // ids between decide and the end of remember
	total  Tally
	outage error // why records could not be published: the first reason
}

func newPass(w *Worker, t *tenure) *pass {
	return &pass{Worker: w, t: t, id: newToken(), memory: t.memory, flying: map[int64]struct{}{}}
}

// memory is what passes work in, one after the other: most of what a worker does is to read the same shifts again, and
// to make room for them anew each time would be most of what that costs.
type memory struct {
	answers chan *answer // those that are not in use
	batches chan *batch  // those that are not in use
}

func newMemory() memory {
	m := memory{answers: make(chan *answer, 3), batches: make(chan *batch, 5)}
	for range cap(m.answers) {
		m.answers <- &answer{}
	}
	for range cap(m.batches) {
		m.batches <- &batch{}
	}
	return m
}

// keepBytes is the most that is kept of what a batch needed: one of giants must not be the measure of all.
const keepBytes = 1 << 20

// emptied returns b to be filled again.
func emptied(b []byte) []byte {
	if cap(b) > keepBytes {
		return nil
	}
	return b[:0]
}

// batch is what goes through the pipeline together.
type batch struct {
	intents  []Intent
	records  []Record     // of the intents, as the publisher takes them
	outcomes []Outcome    // of the intents, once published
	settled  []Settled    // of the intents, those that were acknowledged
	aside    []Settled    // shifts that could not be made records
	letters  []DeadLetter // of those in aside, one for each
	buf      []byte       // holds the keys and values, and the letters' bodies
	void     bool         // nothing is to be done for it any more
}

// stage does its part of each batch and hands it on, or ends its flight if it is the last. After an error it does no
// more, but goes on handing on: whoever is before it never waits in vain, and whoever is behind it ends its work.
func (p *pass) stage(ctx context.Context, fail func(error), in <-chan *batch, do func(context.Context, *batch) error, out chan<- *batch) {
	if out != nil {
		defer close(out)
	}
	failed := false
	for b := range in {
		b.void = b.void || failed
		if !b.void {
			if err := do(ctx, b); err != nil {
				failed = true
				fail(err)
			}
		}
		if out != nil {
			out <- b
		} else {
			p.land(b)
		}
	}
}

// look asks for the topic, before anything is registered for it.
func (p *pass) look(ctx context.Context) (Topic, error) {
	topic, err := p.Publisher.Topic(ctx)
	if err != nil {
		p.away = true
		return topic, p.withoutBroker(fmt.Errorf("look at topic: %w", err))
	}
	p.t.maxRecord = topic.MaxRecordBytes
	return topic, nil
}

// inspect compares the topic and its layout with what is remembered of them.
func (p *pass) inspect(ctx context.Context, topic Topic) error {
	if p.away {
		return nil
	}
	layout := Layout{Partitions: len(topic.Ends), Fixed: p.Partition, KeySchema: p.schemas.Key}
	if layout != p.t.layout {
		if err := p.noticeLoss(ctx); err != nil {
			return err
		}
		if err := p.Store.Bind(ctx, p.t.owner, layout, p.AcceptLayout); err != nil {
			return fmt.Errorf("compare layout: %w", err)
		}
		p.t.layout, p.knewLayout = layout, true
	}
	acknowledged, err := p.Store.Ends(ctx)
	if err != nil {
		return fmt.Errorf("load acknowledged offsets: %w", err)
	}
	for _, partition := range slices.Sorted(maps.Keys(acknowledged)) {
		offset := acknowledged[partition]
		end, there := topic.Ends[partition]
		if there && end > offset {
			continue
		}
		p.notices = append(p.notices, fmt.Sprintf("partition %d ends at offset %d, but offset %d was acknowledged: "+
			"the topic was recreated or cut, and the whole window is published again", partition, end, offset))
		if err := p.Store.Forget(ctx, p.t.owner); err != nil {
			return fmt.Errorf("forget shifts: %w", err)
		}
		p.t.doubt.Store(true) // the broker forgot our sequences with the topic
		break
	}
	return nil
}

// noticeLoss says so if nothing is left of what this worker had written in an earlier tenure.
func (p *pass) noticeLoss(ctx context.Context) error {
	if !p.knewLayout {
		return nil
	}
	bound, err := p.Store.Bound(ctx)
	if err != nil {
		return fmt.Errorf("load layout: %w", err)
	}
	if bound == (Layout{}) {
		p.notices = append(p.notices, "the store has forgotten all that this worker had written: the window is published again, and what was "+
			"pending of shifts outside of it is lost; let it keep what it acknowledges")
	}
	return nil
}

// takesOver tells whether somebody else may have worked since this worker did.
func (p *pass) takesOver() bool { return p.t.term.Claim == "" || p.t.displaced.Load() }

// settle takes over, and sends again what stands in an intent that no batch in hand will end.
func (p *pass) settle(stop, ctx context.Context) error {
	// A claim without an answer stands, perhaps. It is repeated as it is, since its epoch has been taken: even while the
	// broker is away, or nothing could be collected in its name.
	if p.t.claiming.Claim == "" || p.t.displaced.Load() {
		if p.away {
			return nil
		}
		if !p.takesOver() && !p.t.doubt.Load() {
			if err := p.Publisher.Renew(ctx); err != nil {
				return p.withoutBroker(fmt.Errorf("renew epoch: %w", err))
			}
			return nil
		}
		if err := p.Publisher.Begin(ctx, p.takesOver()); err != nil {
			return p.withoutBroker(fmt.Errorf("begin epoch: %w", err))
		}
		p.t.claiming = Term{Owner: p.t.owner.Token, Claim: newToken()}
	}
	open, err := p.Store.Claim(ctx, p.t.claiming)
	if err != nil {
		p.t.doubt.Store(true)
		return fmt.Errorf("claim intents: %w", err)
	}
	if p.takesOver() {
		p.Observer.Took(open)
	}
	p.t.term, p.t.claiming, p.t.marks = p.t.claiming, Term{}, newMark()
	p.t.open.Store(int64(open))
	p.t.doubt.Store(p.away)
	p.t.displaced.Store(false)
	if p.away {
		return nil
	}
	if open == 0 {
		return nil
	}
	for cursor := uint64(0); ; {
		b := &batch{}
		if b.intents, cursor, err = p.Store.Open(ctx, cursor); err != nil {
			p.t.doubt.Store(true)
			return fmt.Errorf("load open intents: %w", err)
		}
		if err := errors.Join(p.publish(ctx, b), p.remember(ctx, b)); err != nil {
			return err
		}
		if cursor == 0 {
			return nil
		}
		if stop.Err() != nil && p.t.Err() == nil {
			return errStopped
		}
	}
}

// withoutBroker lets a pass go on while the broker is away, so that what is seen meanwhile is collected. A worker
// that has not taken over yet cannot: without an epoch of its own it may claim nothing.
func (p *pass) withoutBroker(err error) error {
	if errors.Is(err, ErrOtherCluster) {
		return err // what is collected here would be for another destination
	}
	if errors.Is(err, ErrFenced) {
		p.t.displaced.Store(true)
	}
	if p.t.term.Claim == "" && p.t.claiming.Claim == "" || p.t.displaced.Load() || p.t.Err() != nil {
		return err
	}
	p.suffer(err)
	return nil
}

// intend writes down what is about to be published.
func (p *pass) intend(ctx context.Context, b *batch) error {
	if len(b.intents) == 0 {
		return nil
	}
	open, err := p.Store.Intend(ctx, p.t.term, b.intents)
	if err != nil {
		p.t.doubt.Store(true) // perhaps only the answer was lost
		b.void = true
		return fmt.Errorf("intend %d shifts: %w", len(b.intents), err)
	}
	p.t.open.Store(int64(open))
	return nil
}

// publish hands the batch to the broker. That the broker does not take it is no error: it has been collected.
func (p *pass) publish(ctx context.Context, b *batch) error {
	if len(b.intents) == 0 {
		return nil
	}
	if p.away {
		p.t.doubt.Store(true)
		return nil
	}
	if !p.t.doubt.Load() { // a pass may last longer than the broker remembers an epoch
		if err := p.Publisher.Renew(ctx); err != nil {
			p.t.doubt.Store(true)
			return p.withoutBroker(fmt.Errorf("renew epoch: %w", err))
		}
	}
	b.records = b.records[:0]
	for i := range b.intents {
		b.records = append(b.records, b.intents[i].Record)
	}
	var err error
	b.outcomes, err = p.Publisher.Publish(ctx, p.t, p.id, b.records)
	for _, o := range b.outcomes {
		if o.Fate == Unknown || o.Fate == Unsent {
			p.t.doubt.Store(true)
			break
		}
	}
	if err == nil {
		return nil
	}
	return p.withoutBroker(fmt.Errorf("publish: %w", err))
}

// remember ends the intents whose fate is known. Bad shifts come last: there may be no room for their letters, and that
// is to cost nothing else.
func (p *pass) remember(ctx context.Context, b *batch) error {
	b.settled = b.settled[:0]
	for i, o := range b.outcomes {
		in := &b.intents[i]
		s := Settled{ID: in.ID, Mark: in.Mark, Version: in.Version}
		switch o.Fate {
		case Acknowledged:
			s.Partition, s.Offset = o.Partition, o.Offset
			b.settled = append(b.settled, s)
		case Refused:
			s.Aside = o.Reason
			b.aside = append(b.aside, s)
			b.letters = append(b.letters, DeadLetter{ID: in.ID, Stage: StagePublish, Reason: o.Reason, Key: in.Key, Body: in.Value})
		}
	}
	if p.DeadLetters == nil {
		return p.settled(ctx, append(b.settled, b.aside...))
	}
	if err := p.settled(ctx, b.settled); err != nil {
		return err
	}
	for some := range inSteps(p.addressed(b.aside, b.letters)) {
		if err := p.settled(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// settled takes the last step for shifts whose fate is known.
func (p *pass) settled(ctx context.Context, settled []Settled) error {
	if len(settled) == 0 {
		return nil
	}
	// The acknowledgement is here already: a stop must not tear it from its remembering.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.lastStep())
	defer cancel()
	open, err := p.Store.Remember(bounded, p.t.term, settled)
	if err != nil {
		p.t.doubt.Store(true)
		return fmt.Errorf("remember %d shifts: %w", len(settled), err)
	}
	p.t.open.Store(int64(open))
	var tally Tally
	for _, s := range settled {
		if s.Aside == "" {
			tally.Published++
			continue
		}
		tally.SetAside++
		p.Observer.SetAside(s.ID, s.Aside)
	}
	p.count(tally)
	return nil
}

// land ends a batch's flight.
func (p *pass) land(b *batch) {
	p.mu.Lock()
	for i := range b.intents {
		delete(p.flying, b.intents[i].ID)
	}
	for i := range b.aside {
		delete(p.flying, b.aside[i].ID)
	}
	p.mu.Unlock()
	// What is left of them would keep the memory of giants that they point into.
	clear(b.intents)
	clear(b.records)
	clear(b.settled)
	clear(b.aside)
	clear(b.letters)
	b.intents, b.records, b.settled, b.outcomes = b.intents[:0], b.records[:0], b.settled[:0], nil
	b.aside, b.letters, b.buf, b.void = b.aside[:0], b.letters[:0], emptied(b.buf), false
	p.batches <- b
}

// suffer notes why records could not be published.
func (p *pass) suffer(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.outage == nil {
		p.outage = err
	}
}

// count adds to the pass's figures and tells them on.
func (p *pass) count(t Tally) {
	p.mu.Lock()
	p.total.Add(t)
	p.mu.Unlock()
	p.Observer.Batch(t)
}

// report is what can be said of the pass now.
func (p *pass) report() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := Report{
		Tally:    p.total,
		Pass:     p.id,
		Window:   p.window,
		Pending:  int(p.t.open.Load()),
		Unburied: p.burial.waiting,
		Swept:    p.swept,
		Called:   p.called,
		Missing:  p.missing,
		GoneIDs:  p.gone,
		Notices:  slices.Concat(p.schemas.Notices, p.notices),
	}
	if r.SchemaOnly > 0 {
		r.Notices = append(r.Notices, fmt.Sprintf("the schema has changed: what is remembered with an older one than %d is published again, %g a second", p.schemas.Value, p.RepublishRate))
	}
	return r
}

// result judges a pass that read and decided everything.
func (p *pass) result() error {
	r := p.report()
	tooMany := r.tooManyBad(p.BadShare)
	switch {
	case errors.Is(p.outage, ErrNoTopic): // not even what did not change is there
		return p.outage
	case r.NotCollected > 0:
		return errors.Join(fmt.Errorf("%w: %d stand, %d changed shifts were left", ErrPendingLimit, r.Pending, r.NotCollected),
			p.outage, p.burial.result())
	case tooMany != nil:
		return errors.Join(tooMany, p.burial.result())
	case r.Pending > 0 || r.Deferred > 0 || r.HeldBack > 0 || r.Unburied > 0:
		return errors.Join(fmt.Errorf("%w: %d shifts intended, %d left to the next pass", ErrPending, r.Pending, r.Deferred+r.HeldBack),
			p.outage, p.burial.result())
	case p.outage != nil:
		p.notices = append(p.notices, "the broker was away, but nothing had to be published: "+p.outage.Error())
	}
	return nil
}
