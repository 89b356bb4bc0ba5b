package shiftsync_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// world is all that is outside of the workers: the API, Redis and the broker, in memory and with their own rules.
type world struct {
	mu sync.Mutex // guards everything below

	api    map[int64]string // shift id to content; "bad" cannot be parsed
	answer []int64          // order in which the API lists them, with repeats; nil: once each, sorted
	say    []shiftJSON      // if not nil, exactly what the API says
	noise  int              // changes the bytes of every shift and nothing else
	readAt func(n int) error

	lease struct {
		shiftsync.Owner
		until time.Time
	}
	term    shiftsync.Term
	shifts  map[int64]remembered
	stubs   map[int64]stub // of shifts that were forgotten
	intents map[int64]shiftsync.Intent
	aside   map[int64]uint64
	wanted  map[int64]uint64 // shift id to the mark of the intent that serves the wish; 0: none yet
	outside map[int64]string // shifts that are not in the answer: id to content
	hidden  map[int64]bool   // shifts that are not shown, nor whether they exist
	silent  map[int64]bool   // shifts of which the API says nothing that could be understood
	deletes shiftsync.Deletes
	share   float64   // Worker.GoneShare
	called  time.Time // when the roll was last called
	inStep  time.Time // when a pass last left nothing undone; at first, when there was a first lease
	never   bool      // there was no such pass
	missing map[int64]noted
	doubted map[int64]doubt
	layout  shiftsync.Layout
	ends    map[int]int64
	stale   bool // every remembered shift wants its "last seen" rewritten

	log    [partitions][]message
	fence  [partitions]int // newest epoch that wrote
	epoch  int
	late   []func()          // writes that are still on their way
	refuse map[string]string // content to the reason why the broker refuses it for good
	away   bool              // the broker answers nothing
	onSend func()            // before records are written

	buries     bool // workers have a place for dead letters
	waiting    map[letterName]shiftsync.DeadLetter
	letters    []shiftsync.DeadLetter // those that were taken
	unburied   bool                   // dead letters are not taken
	unburiable map[int64]bool         // shifts whose letters alone are not taken
	onBury     func()                 // before letters are taken
	unmourned  []int64                // set aside without a letter
	badShare   float64                // of workers; 0: 0.1
	limit      int                    // Worker.PendingLimit; 0: 100,000

	marks  []uint64         // one for each batch that was intended
	newest map[int64]string // content that the lease's holder intended last
	leaves map[string]bool  // parts of the protocol that are left out
	schema shiftsync.SchemaID
}

const partitions = 2

type remembered struct {
	shiftsync.Version
	offset int64
	at     time.Time // of its acknowledgement
}

// stub is what is left of what was forgotten: when it is, and whether it was a tombstone.
type stub struct {
	shiftsync.Window
	ended bool
}

// forget is what is done to the memory of a shift; mu is held.
func (w *world) forget(id int64) {
	if r, known := w.shifts[id]; known && !w.leaves["stubs"] {
		w.stubs[id] = stub{shiftsync.Window{Start: r.StartTime, End: r.EndTime}, r.Tombstone()}
	}
	delete(w.shifts, id)
}

func (w *world) forgetAll() {
	for id := range w.shifts {
		w.forget(id)
	}
}

type message struct {
	id      int64
	content string
	epoch   int
}

// letterName tells apart the letters that wait: by shift and version.
type letterName struct {
	id  int64
	raw uint64
}

// noted is what became of a missing shift, and when to ask again.
type noted struct {
	shiftsync.Finding
	next time.Time
}

type doubt struct {
	shiftsync.Fingerprint
	pass string
}

// tombstone is the content of a message without a value.
const tombstone = "(tombstone)"

func contentOf(r shiftsync.Record) string {
	if r.Value == nil {
		return tombstone
	}
	return string(r.Value)
}

func newWorld() *world {
	return &world{
		api:     map[int64]string{},
		shifts:  map[int64]remembered{},
		stubs:   map[int64]stub{},
		intents: map[int64]shiftsync.Intent{},
		aside:   map[int64]uint64{},
		wanted:  map[int64]uint64{},
		outside: map[int64]string{},
		hidden:  map[int64]bool{},
		silent:  map[int64]bool{},
		missing: map[int64]noted{},
		doubted: map[int64]doubt{},
		waiting: map[letterName]shiftsync.DeadLetter{},
		ends:    map[int]int64{},
		refuse:  map[string]string{},
		newest:  map[int64]string{},
		leaves:  map[string]bool{},
		schema:  7,
	}
}

// snapshot is all that a worker may write to.
func (w *world) snapshot() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprint(w.lease.Owner, w.term, w.shifts, w.stubs, w.intents, w.aside, w.waiting, w.letters, w.wanted, w.called, w.missing, w.doubted, w.layout, w.ends, w.log, w.epoch)
}

// last returns the content of the newest record of a shift, or "".
func (w *world) last(id int64) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	log := w.log[partitionOf(id)]
	for i := len(log) - 1; i >= 0; i-- {
		if log[i].id == id {
			return log[i].content
		}
	}
	return ""
}

// history returns the contents of all records of a shift.
func (w *world) history(id int64) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, m := range w.log[partitionOf(id)] {
		if m.id == id {
			out = append(out, m.content)
		}
	}
	return out
}

func (w *world) set(contents map[int64]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.Copy(w.api, contents)
	maps.DeleteFunc(w.api, func(_ int64, c string) bool { return c == gone })
}

// moved begins the content of a shift that lies a year ahead.
const moved = "moved"

// over begins the content of a shift that has ended before the window.
const over = "over"

// foreign is the content of a shift of another account.
const foreign = "foreign"

// Shifts that are never published: one that cannot be parsed and one that the broker refuses.
const badID, poisonID = 4, 5

// spoil adds both to what the API says. No share of bad shifts is too large then.
func (w *world) spoil() {
	w.mu.Lock()
	w.buries, w.badShare, w.refuse["poison"] = true, 100, "larger than the topic takes"
	w.mu.Unlock()
	w.set(map[int64]string{badID: "bad", poisonID: "poison"})
}

// buriedWrong tells what is wrong with the end of the two, or "".
func (w *world) buriedWrong() string {
	for _, id := range []int64{badID, poisonID} {
		switch {
		case len(w.lettersOf(id)) == 0:
			return fmt.Sprintf("bad shift %d has no dead letter", id)
		case w.aside[id] == 0:
			return fmt.Sprintf("bad shift %d is not set aside", id)
		case len(w.history(id)) > 0:
			return fmt.Sprintf("bad shift %d has the records %v", id, w.history(id))
		}
	}
	if len(w.waiting) > 0 {
		return fmt.Sprintf("dead letters wait: %v", w.waiting)
	}
	if len(w.unmourned) > 0 {
		return fmt.Sprintf("set aside without a dead letter: %v", w.unmourned)
	}
	return ""
}

func (w *world) lettersOf(id int64) (letters []shiftsync.DeadLetter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.letters {
		if l.ID == id {
			letters = append(letters, l)
		}
	}
	return letters
}

// gone is the content of a shift that is not in the window.
const gone = "-"

func (w *world) deliver() {
	w.mu.Lock()
	late := w.late
	w.late = nil
	w.mu.Unlock()
	for _, write := range late {
		write()
	}
}

func partitionOf(id int64) int { return int(id % partitions) }

// fault is what goes wrong at one step.
type fault string

const (
	crashBefore fault = "crash before"
	crashAfter  fault = "crash after"
	lostAnswer  fault = "answer lost" // after the effect
	noEffect    fault = "call lost"
	paused      fault = "paused before" // longer than the lease, and then the step is taken

	// Of Publish only.
	halfLost      fault = "one partition never arrives"
	halfLate      fault = "one partition arrives late"
	allLate       fault = "all arrives late"
	halfUnsent    fault = "one partition refuses for now"
	halfLateCrash fault = "one partition arrives late, crash"
	allLateCrash  fault = "all arrives late, crash"

	// Of Read only.
	cutShort fault = "answer cut off"
)

var (
	errDead = errors.New("this worker is dead")
	errLost = errors.New("no answer")
)

// incarnation is one worker process as the world sees it: the implementation of all its ports.
type incarnation struct {
	*world
	name string
	plan func(step int, name string) fault

	gate  sync.Mutex // guards what is below
	steps int
	names []string
	dead  bool
	pause chan struct{} // not nil: everything waits until it is closed

	epoch   int
	blocked [partitions]bool

	meanwhile func() // runs while this one is paused
	before    func(step int)

	asked      []int64 // ids that were read one by one
	looks      int     // at the registry, anew
	largest    int     // bytes of records that stood in one buffer
	asides     []string
	standbys   int
	unanswered int
	acquired   []shiftsync.Standing
	losses     int
	done       []error
	reports    []shiftsync.Report
	ended      []time.Time
}

// step takes one step of this worker in the world, with what the plan has for it.
func (i *incarnation) step(name string, effect func() error) (fault, error) {
	i.gate.Lock()
	pause := i.pause
	i.gate.Unlock()
	if pause != nil {
		<-pause
	}
	i.gate.Lock()
	if i.dead {
		i.gate.Unlock()
		return "", errDead
	}
	n := i.steps
	var f fault
	if name != "renew" && name != "release" { // those have a rhythm of their own
		i.steps++
		i.names = append(i.names, name)
		if i.plan != nil {
			f = i.plan(n, name)
		}
	}
	before := i.before
	switch f {
	case crashBefore, crashAfter, halfLateCrash, allLateCrash:
		i.dead = true
	case paused:
		i.pause = make(chan struct{})
	}
	i.gate.Unlock()
	if before != nil {
		before(n)
	}

	switch f {
	case crashBefore:
		return f, errDead
	case crashAfter:
		_ = effect()
		return f, errDead
	case lostAnswer:
		_ = effect()
		return f, errLost
	case noEffect:
		return f, errLost
	case paused:
		i.meanwhile()
		err := effect()
		i.gate.Lock()
		close(i.pause)
		i.pause = nil
		i.gate.Unlock()
		return f, err
	}
	return f, effect()
}

func (i *incarnation) locked(effect func() error) func() error {
	return func() error {
		i.mu.Lock()
		defer i.mu.Unlock()
		return effect()
	}
}

// Source

type shiftJSON struct {
	ID      int64  `json:"id"`
	Content string `json:"content"`
	Noise   int    `json:"noise"`
}

func (i *incarnation) Read(_ context.Context, _ shiftsync.Window, add func(int64, uint64, []byte) error) error {
	var list []shiftJSON
	f, err := i.step("read", i.locked(func() error {
		ids := i.answer
		if ids == nil {
			ids = slices.Sorted(maps.Keys(i.api))
		}
		for _, id := range ids {
			list = append(list, shiftJSON{ID: id, Content: i.api[id], Noise: i.noise})
		}
		if i.say != nil {
			list = slices.Clone(i.say)
		}
		return nil
	}))
	if err != nil {
		return err
	}
	if f == cutShort {
		list = list[:len(list)/2]
		if !i.leaves["whole-answer"] {
			err = errLost // told behind what was there
		}
	}
	seen := map[int64]int{}
	for n, s := range list {
		if i.readAt != nil {
			if err := i.readAt(n); err != nil {
				return err
			}
		}
		if again := seen[s.ID]; again > 0 && i.say == nil {
			s.Content += "+" + strconv.Itoa(again) // a repeat brings a newer version
		}
		seen[s.ID]++
		raw, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if err := add(s.ID, hashOf(raw), raw); err != nil {
			return err
		}
	}
	return err
}

func (i *incarnation) ReadOne(_ context.Context, id int64, add func(int64, uint64, []byte) error) error {
	var s shiftJSON
	_, err := i.step("read one", i.locked(func() error {
		content, known := i.outside[id]
		if !known || i.leaves["ask-each"] {
			content, known = i.api[id]
		}
		i.asked = append(i.asked, id)
		switch {
		case i.hidden[id]:
			return fmt.Errorf("fake: %w", shiftsync.ErrNotShown)
		case i.silent[id]:
			return errLost
		case !known:
			return fmt.Errorf("fake: %w", shiftsync.ErrNoShift)
		}
		s = shiftJSON{ID: id, Content: content, Noise: i.noise}
		return nil
	}))
	if err != nil {
		return err
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return add(s.ID, hashOf(raw), raw)
}

func hashOf(raw []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(raw)
	return h.Sum64()
}

var errBad = errors.New("no start_time")

func (i *incarnation) Parse(raw []byte, into *shiftsync.Shift) error {
	var s shiftJSON
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	if strings.HasPrefix(s.Content, "bad") {
		return errBad
	}
	*into = shiftsync.Shift{ID: s.ID, AccountID: 77, Notes: s.Content}
	// Time begins at the year 2000 here, and the window at now.
	into.StartTime, into.EndTime = time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(2000, 2, 1, 0, 0, 0, 0, time.UTC)
	if strings.HasPrefix(s.Content, moved) {
		into.StartTime, into.EndTime = into.StartTime.AddDate(1, 0, 0), into.EndTime.AddDate(1, 0, 0)
	}
	if strings.HasPrefix(s.Content, over) {
		into.EndTime = into.StartTime.Add(time.Hour)
	}
	if _, after, told := strings.Cut(s.Content, "@"); told { // B@5 was last changed in second 5
		n, err := strconv.ParseFloat(after, 64)
		if err != nil {
			return err
		}
		into.UpdatedAt = time.UnixMilli(int64(n * 1000))
	}
	if s.Content == foreign {
		into.AccountID = 78
	}
	return nil
}

// Encoder

func (i *incarnation) Prepare(_ context.Context, anew bool) (shiftsync.Schemas, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if anew {
		i.looks++
	}
	return shiftsync.Schemas{Key: 1, Value: i.schema}, nil
}

func (i *incarnation) Encode(s *shiftsync.Shift, buf []byte, into *shiftsync.Record) ([]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	begin := len(buf)
	buf = strconv.AppendInt(buf, s.ID, 10)
	middle := len(buf)
	buf = append(buf, s.Notes...)
	i.largest = max(i.largest, len(buf))
	into.ID, into.Key, into.Value = s.ID, buf[begin:middle:middle], buf[middle:len(buf):len(buf)]
	into.Schema, into.Fingerprint = i.schema, shiftsync.FingerprintOf(into.Value)
	into.StartTime, into.EndTime, into.UpdatedAt = s.StartTime, s.EndTime, s.UpdatedAt
	return buf, nil
}

func (i *incarnation) Tombstone(id int64, buf []byte, into *shiftsync.Record) ([]byte, error) {
	begin := len(buf)
	buf = strconv.AppendInt(buf, id, 10)
	*into = shiftsync.Record{ID: id, Key: buf[begin:len(buf):len(buf)]}
	into.Schema, into.Fingerprint = i.schema, shiftsync.FingerprintOf(nil)
	return buf, nil
}

func (i *incarnation) Fingerprint(_ context.Context, s *shiftsync.Shift, _ shiftsync.SchemaID) (shiftsync.Fingerprint, error) {
	return shiftsync.FingerprintOf([]byte(s.Notes)), nil
}

// Publisher

func (i *incarnation) Topic(context.Context) (shiftsync.Topic, error) {
	t := shiftsync.Topic{Ends: map[int]int64{}}
	_, err := i.step("topic", i.locked(func() error {
		if i.away {
			return errLost
		}
		for p := range i.log {
			t.Ends[p] = int64(len(i.log[p]))
		}
		return nil
	}))
	return t, err
}

func (i *incarnation) Begin(_ context.Context, takeover bool) error {
	_, err := i.step("begin", i.locked(func() error {
		if i.away {
			return errLost
		}
		if !takeover && i.epoch != i.world.epoch {
			return shiftsync.ErrFenced
		}
		i.world.epoch++
		i.epoch = i.world.epoch
		i.blocked = [partitions]bool{}
		return nil
	}))
	return err
}

func (i *incarnation) Renew(context.Context) error { return nil }

func (i *incarnation) Publish(_ context.Context, hold shiftsync.Hold, _ string, records []shiftsync.Record) ([]shiftsync.Outcome, error) {
	outcomes := make([]shiftsync.Outcome, len(records))
	if err := hold.Err(); err != nil {
		for n := range outcomes {
			outcomes[n].Fate = shiftsync.Unsent
		}
		return outcomes, err
	}
	epoch := i.epoch
	var byPartition [partitions][]int
	twice := map[int64]bool{}
	for n, r := range records {
		if twice[r.ID] {
			panic("the same id twice in one call")
		}
		twice[r.ID] = true
		byPartition[partitionOf(r.ID)] = append(byPartition[partitionOf(r.ID)], n)
	}
	fenced := false
	write := func(p int) { // mu is held
		if epoch < i.fence[p] && !i.leaves["no-fence"] {
			fenced = true
			return
		}
		i.fence[p] = max(i.fence[p], epoch)
		for _, n := range byPartition[p] {
			r := records[n]
			if why := i.refuse[contentOf(r)]; why != "" {
				outcomes[n] = shiftsync.Outcome{Fate: shiftsync.Refused, Reason: why}
				continue
			}
			outcomes[n] = shiftsync.Outcome{Fate: shiftsync.Acknowledged, Partition: p, Offset: int64(len(i.log[p]))}
			i.log[p] = append(i.log[p], message{r.ID, contentOf(r), epoch})
		}
	}
	// What is late is written from copies: its outcome has long been told.
	later := func(p int) {
		var on []message
		for _, n := range byPartition[p] {
			if i.refuse[contentOf(records[n])] == "" {
				on = append(on, message{records[n].ID, contentOf(records[n]), epoch})
			}
		}
		i.late = append(i.late, func() {
			i.mu.Lock()
			defer i.mu.Unlock()
			if epoch < i.fence[p] && !i.leaves["no-fence"] {
				return
			}
			i.fence[p] = max(i.fence[p], epoch)
			i.log[p] = append(i.log[p], on...)
		})
	}
	f, err := i.step("publish", func() error { return nil })
	if errors.Is(err, errDead) && f != crashAfter && f != halfLateCrash && f != allLateCrash || f == noEffect {
		return outcomes, err // all Unknown
	}
	if i.onSend != nil {
		i.onSend()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for p := range partitions {
		if len(byPartition[p]) == 0 {
			continue
		}
		i.blocked[p] = i.blocked[p] || i.away
		if i.blocked[p] {
			for _, n := range byPartition[p] {
				outcomes[n].Fate = shiftsync.Unsent
			}
			err = errLost
			continue
		}
		half := p == partitions-1
		switch {
		case f == halfLost && half:
			i.blocked[p] = true
		case (f == halfLate || f == halfLateCrash) && half, f == allLate, f == allLateCrash:
			later(p)
			i.blocked[p] = true
		case f == halfUnsent && half:
			for _, n := range byPartition[p] {
				outcomes[n].Fate = shiftsync.Unsent
			}
			i.blocked[p] = true
		default:
			write(p)
		}
		if i.blocked[p] {
			err = errLost
		}
	}
	if fenced {
		err = shiftsync.ErrFenced
	}
	if f == lostAnswer {
		clear(outcomes)
		i.blocked = [partitions]bool{true, true}
		err = errLost
	}
	if f == crashAfter || f == halfLateCrash || f == allLateCrash {
		clear(outcomes)
		err = errDead
	}
	return outcomes, err
}

// DeadLetters

func (i *incarnation) Bury(_ context.Context, hold shiftsync.Hold, letters []shiftsync.DeadLetter) ([]bool, error) {
	buried := make([]bool, len(letters))
	if err := hold.Err(); err != nil {
		return buried, err
	}
	if i.onBury != nil {
		i.onBury()
	}
	var refused error
	_, err := i.step("bury", i.locked(func() error {
		if i.unburied {
			return errLost
		}
		for n, l := range letters {
			if i.unburiable[l.ID] {
				refused = errUnburiable
				continue
			}
			l.Key, l.Body = slices.Clone(l.Key), slices.Clone(l.Body)
			i.letters = append(i.letters, l)
			buried[n] = true
		}
		return nil
	}))
	if err != nil {
		clear(buried)
		return buried, err
	}
	return buried, refused
}

var errUnburiable = errors.New("this letter is not taken")

// Store

func (i *incarnation) Acquire(_ context.Context, o shiftsync.Owner, ttl time.Duration) (found shiftsync.Standing, err error) {
	_, err = i.step("acquire", i.locked(func() error {
		found.Open, found.InStep, found.Never = len(i.intents), i.inStep, i.never
		if i.lease.Token != "" && i.lease.Token != o.Token && time.Now().Before(i.lease.until) {
			found.Holder = i.lease.Name
			return nil
		}
		if i.inStep.IsZero() {
			i.inStep, i.never = time.Now(), true
			found.InStep, found.Never = i.inStep, true
		}
		i.lease.Owner, i.lease.until = o, time.Now().Add(ttl)
		return nil
	}))
	return found, err
}

func (i *incarnation) holds(token string) error { // mu is held
	if i.leaves["no-lease-check"] || i.isHolder(token) {
		return nil
	}
	return fmt.Errorf("fake: %w", shiftsync.ErrLeaseLost)
}

func (i *incarnation) isHolder(token string) bool { // mu is held
	return i.lease.Token == token && time.Now().Before(i.lease.until)
}

func (i *incarnation) current(t shiftsync.Term) error { // mu is held
	if err := i.holds(t.Owner); err != nil {
		return err
	}
	if i.term != t && !i.leaves["no-lease-check"] {
		return fmt.Errorf("fake: %w", shiftsync.ErrLeaseLost)
	}
	return nil
}

func (i *incarnation) renewLease(o shiftsync.Owner, ttl time.Duration) error {
	if !i.isHolder(o.Token) {
		return shiftsync.ErrLeaseLost
	}
	i.lease.until = time.Now().Add(ttl)
	return nil
}

func (i *incarnation) Claim(_ context.Context, next shiftsync.Term) (open int, err error) {
	_, err = i.step("claim", i.locked(func() error {
		if err := i.holds(next.Owner); err != nil {
			return err
		}
		i.term = next
		if i.leaves["no-claim"] {
			return nil
		}
		for id := range i.intents {
			i.forget(id)
		}
		if i.leaves["drop-payload"] {
			clear(i.intents)
		}
		open = len(i.intents)
		return nil
	}))
	return open, err
}

func (i *incarnation) Open(_ context.Context, cursor uint64) (out []shiftsync.Intent, next uint64, err error) {
	_, err = i.step("open", i.locked(func() error {
		ids := slices.Sorted(maps.Keys(i.intents))
		// Two a page, by id, so that there is more than one page.
		for _, id := range ids {
			if uint64(id) > cursor && len(out) < 2 {
				out = append(out, i.intents[id])
				next = uint64(id)
			}
		}
		if len(ids) == 0 || next == uint64(ids[len(ids)-1]) {
			next = 0
		}
		return nil
	}))
	return out, next, err
}

func (i *incarnation) Intend(_ context.Context, t shiftsync.Term, intents []shiftsync.Intent) (open int, err error) {
	_, err = i.step("intend", i.locked(func() error {
		if err := i.current(t); err != nil {
			return err
		}
		if len(intents) > 0 {
			i.marks = append(i.marks, intents[0].Mark)
		}
		for _, in := range intents {
			if i.isHolder(t.Owner) { // what anybody else intends is old
				i.newest[in.ID] = contentOf(in.Record)
			}
			if i.leaves["no-intent"] {
				continue
			}
			in.Key, in.Value = slices.Clone(in.Key), slices.Clone(in.Value)
			i.intents[in.ID] = in
			if _, wanted := i.wanted[in.ID]; wanted {
				i.wanted[in.ID] = in.Mark
			}
		}
		open = len(i.intents)
		return nil
	}))
	return open, err
}

func (i *incarnation) Remember(ctx context.Context, t shiftsync.Term, settled []shiftsync.Settled) (open int, err error) {
	if ctx.Err() != nil {
		return 0, ctx.Err() // nothing was sent; once it is, it may arrive at any time
	}
	_, err = i.step("remember", i.locked(func() error {
		if err := i.current(t); err != nil && !i.leaves["late-remember"] {
			return err
		}
		for _, s := range settled {
			in, stands := i.intents[s.ID]
			stands = stands && in.Mark == s.Mark
			if s.Aside != "" {
				if stands {
					delete(i.intents, s.ID)
				}
				if stands || s.Mark == 0 {
					if s.Letter != nil {
						l := *s.Letter
						l.Key, l.Body = slices.Clone(l.Key), slices.Clone(l.Body)
						i.waiting[letterName{l.ID, l.Raw}] = l
					} else if i.buries {
						i.unmourned = append(i.unmourned, s.ID)
					}
					i.aside[s.ID] = s.Raw
					delete(i.wanted, s.ID)
				}
				continue
			}
			if stands || i.leaves["no-intent"] || i.leaves["late-remember"] {
				if stands {
					delete(i.intents, s.ID)
				}
				if mark, wanted := i.wanted[s.ID]; !wanted || mark != 0 {
					delete(i.wanted, s.ID)
					i.shifts[s.ID] = remembered{s.Version, s.Offset, time.Now()}
					delete(i.stubs, s.ID)
				}
				delete(i.doubted, s.ID)
				i.ends[s.Partition] = max(i.ends[s.Partition], s.Offset)
			}
		}
		open = len(i.intents)
		return nil
	}))
	return open, err
}

func (i *incarnation) Lookup(_ context.Context, sightings []shiftsync.Sighting, into []shiftsync.Known) error {
	_, err := i.step("lookup", i.locked(func() error {
		for n, s := range sightings {
			if r, ok := i.shifts[s.ID]; ok {
				into[n].Remembered, into[n].Version, into[n].Stale = true, r.Version, i.stale
				into[n].Partition, into[n].Offset = partitionOf(s.ID), r.offset
			}
			if in, ok := i.intents[s.ID]; ok && !i.leaves["no-claim"] {
				into[n].Pending, into[n].Intended = true, in.Version
			}
			_, into[n].Doubted = i.doubted[s.ID]
			into[n].Aside = i.aside[s.ID]
		}
		return nil
	}))
	return err
}

func (i *incarnation) Refresh(_ context.Context, t shiftsync.Term, seen []shiftsync.Seen) error {
	_, err := i.step("refresh", i.locked(func() error {
		if i.leaves["free-refresh"] {
			for _, s := range seen {
				r := i.shifts[s.ID]
				r.Fingerprint, r.Raw = s.Fingerprint, s.Raw
				i.shifts[s.ID] = r
			}
			return nil
		}
		if err := i.current(t); err != nil {
			return err
		}
		for _, s := range seen {
			if r, ok := i.shifts[s.ID]; ok && r.Fingerprint == s.Fingerprint {
				r.Raw = s.Raw
				if r.StartTime.IsZero() {
					r.StartTime = s.StartTime
				}
				i.shifts[s.ID] = r
			}
		}
		return nil
	}))
	return err
}

// want is what an operator does, at any time.
func (w *world) want(ids ...int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		delete(w.shifts, id)
		delete(w.stubs, id)
		delete(w.aside, id)
		w.wanted[id] = 0
	}
}

func (i *incarnation) Wanted(_ context.Context, limit int) (ids []int64, err error) {
	_, err = i.step("wanted", i.locked(func() error {
		for _, id := range slices.Sorted(maps.Keys(i.wanted)) {
			if _, stands := i.intents[id]; !stands && i.wanted[id] == 0 && len(ids) < limit {
				ids = append(ids, id)
			}
		}
		return nil
	}))
	return ids, err
}

func (i *incarnation) Unwant(_ context.Context, t shiftsync.Term, id int64) error {
	_, err := i.step("unwant", i.locked(func() error {
		if err := i.current(t); err != nil {
			return err
		}
		if i.wanted[id] == 0 {
			delete(i.wanted, id)
		}
		return nil
	}))
	return err
}

func (i *incarnation) Doubt(_ context.Context, t shiftsync.Term, pass string, doubted []shiftsync.Doubted) (again []bool, err error) {
	_, err = i.step("doubt", i.locked(func() error {
		if err := i.current(t); err != nil {
			return err
		}
		for _, d := range doubted {
			was, known := i.doubted[d.ID]
			again = append(again, known && was.Fingerprint == d.Fingerprint && was.pass != pass)
			if !known || was.Fingerprint != d.Fingerprint {
				i.doubted[d.ID] = doubt{d.Fingerprint, pass}
			}
		}
		return nil
	}))
	return again, err
}

func (i *incarnation) Undoubt(_ context.Context, t shiftsync.Term, ids []int64) error {
	_, err := i.step("undoubt", i.locked(func() error {
		if err := i.current(t); err != nil {
			return err
		}
		for _, id := range ids {
			delete(i.doubted, id)
		}
		return nil
	}))
	return err
}

func (i *incarnation) RollDue(_ context.Context, t shiftsync.Term, every time.Duration) (due bool, err error) {
	_, err = i.step("roll due", i.locked(func() error {
		due = time.Since(i.called) >= every
		return i.current(t)
	}))
	return due, err
}

// overlaps tells whether a shift is remembered, or was, to be in the window.
func (w *world) overlaps(id int64, window shiftsync.Window) bool {
	if s, forgotten := w.stubs[id]; forgotten {
		return !s.ended && s.End.After(window.Start) && s.Start.Before(window.End)
	}
	r, known := w.shifts[id]
	return known && !r.Tombstone() && r.EndTime.After(window.Start) && r.StartTime.Before(window.End)
}

func (i *incarnation) RollCalled(_ context.Context, t shiftsync.Term, window shiftsync.Window, seen func(int64) bool) error {
	_, err := i.step("roll called", i.locked(func() error {
		if err := i.current(t); err != nil {
			return err
		}
		i.called = time.Now()
		maps.DeleteFunc(i.missing, func(id int64, _ noted) bool { return seen(id) || !i.overlaps(id, window) && !i.stubs[id].ended })
		return nil
	}))
	return err
}

func (i *incarnation) Absent(_ context.Context, window shiftsync.Window, seen func(int64) bool, tell func(shiftsync.Absent)) (census shiftsync.Census, err error) {
	var absent []shiftsync.Absent
	_, err = i.step("absent", i.locked(func() error {
		known := slices.AppendSeq(slices.Collect(maps.Keys(i.shifts)), maps.Keys(i.stubs))
		slices.Sort(known)
		for _, id := range known {
			if r := i.shifts[id]; r.Tombstone() && time.Since(r.at) < shiftsync.GuardSpan {
				census.Ended++
			}
			ended := i.stubs[id].ended
			if !i.overlaps(id, window) && !ended {
				continue
			}
			if !ended {
				census.Expected++
			}
			if _, stands := i.intents[id]; !seen(id) && !stands {
				n := i.missing[id]
				absent = append(absent, shiftsync.Absent{ID: id, Finding: n.Finding, Due: !time.Now().Before(n.next), Ended: ended})
			}
		}
		return nil
	}))
	for _, a := range absent {
		tell(a)
	}
	return census, err
}

func (i *incarnation) Note(_ context.Context, t shiftsync.Term, notes []shiftsync.Note) error {
	_, err := i.step("note", i.locked(func() error {
		if err := i.current(t); err != nil {
			return err
		}
		for _, n := range notes {
			if n.Last == shiftsync.Unasked {
				delete(i.missing, n.ID)
				continue
			}
			i.missing[n.ID] = noted{n.Finding, time.Now().Add(n.Wait)}
		}
		return nil
	}))
	return err
}

func (i *incarnation) CountLetters(context.Context) (n int, err error) {
	_, err = i.step("count letters", i.locked(func() error {
		n = len(i.waiting)
		return nil
	}))
	return n, err
}

func (i *incarnation) Letters(_ context.Context, cursor uint64) (out []shiftsync.DeadLetter, next uint64, err error) {
	_, err = i.step("letters", i.locked(func() error {
		names := slices.SortedFunc(maps.Keys(i.waiting), func(a, b letterName) int {
			return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.raw, b.raw))
		})
		// Those of 300 ids a page, by id, since a cursor must not jump over any when others are dropped.
		next = cursor + 300
		if len(names) == 0 || next > uint64(names[len(names)-1].id) {
			next = 0
		}
		for _, name := range names {
			if uint64(name.id) >= cursor && (next == 0 || uint64(name.id) < next) {
				out = append(out, i.waiting[name])
			}
		}
		return nil
	}))
	return out, next, err
}

func (i *incarnation) Delivered(ctx context.Context, t shiftsync.Term, letters []shiftsync.DeadLetter) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_, err := i.step("delivered", i.locked(func() error {
		if err := i.current(t); err != nil {
			return err
		}
		for _, l := range letters {
			delete(i.waiting, letterName{l.ID, l.Raw})
		}
		return nil
	}))
	return err
}

func (i *incarnation) Sweep(_ context.Context, t shiftsync.Term, _ time.Duration, inStep bool) (int, error) {
	_, err := i.step("sweep", i.locked(func() error {
		if err := i.current(t); err != nil {
			return err
		}
		if inStep {
			i.inStep, i.never = time.Now(), false
		}
		return nil
	}))
	return 0, err
}

func (i *incarnation) Bind(_ context.Context, o shiftsync.Owner, l shiftsync.Layout, accept bool) error {
	_, err := i.step("bind", i.locked(func() error {
		if err := i.holds(o.Token); err != nil {
			return err
		}
		if l.Account != 0 {
			if i.layout.Account != 0 && i.layout.Account != l.Account {
				return &shiftsync.LayoutError{What: "account", Was: fmt.Sprint(i.layout.Account), Now: fmt.Sprint(l.Account)}
			}
			i.layout.Account = l.Account
		}
		if l.Fixed != "" {
			if i.layout.Fixed != "" && i.layout.Fixed != l.Fixed {
				if !accept {
					return &shiftsync.LayoutError{What: "partition", Was: i.layout.Fixed, Now: l.Fixed}
				}
				i.forgetAll()
			}
			i.layout.Fixed = l.Fixed
		}
		return nil
	}))
	return err
}

func (i *incarnation) Bound(context.Context) (shiftsync.Layout, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.layout, nil
}

func (i *incarnation) Ends(context.Context) (map[int]int64, error) {
	var ends map[int]int64
	_, err := i.step("ends", i.locked(func() error {
		ends = maps.Clone(i.ends)
		return nil
	}))
	return ends, err
}

func (i *incarnation) Forget(_ context.Context, o shiftsync.Owner) error {
	_, err := i.step("forget", i.locked(func() error {
		if err := i.holds(o.Token); err != nil {
			return err
		}
		i.forgetAll()
		clear(i.ends)
		return nil
	}))
	return err
}

// Observer

func (i *incarnation) Standby(shiftsync.Standing) { i.note(func() { i.standbys++ }) }
func (i *incarnation) Unanswered()                { i.note(func() { i.unanswered++ }) }
func (i *incarnation) Acquired(found shiftsync.Standing) {
	i.note(func() { i.acquired = append(i.acquired, found) })
}
func (i *incarnation) Lost()                 { i.note(func() { i.losses++ }) }
func (i *incarnation) Took(int)              {}
func (i *incarnation) Reading()              {}
func (i *incarnation) Batch(shiftsync.Tally) {}
func (i *incarnation) SetAside(id int64, why string) {
	i.note(func() { i.asides = append(i.asides, fmt.Sprintf("%d: %s", id, why)) })
}
func (i *incarnation) Done(r shiftsync.Report, err error) {
	i.note(func() {
		i.reports, i.done, i.ended = append(i.reports, r), append(i.done, err), append(i.ended, time.Now())
	})
}

// latest returns how the last pass ended.
func (i *incarnation) latest() (shiftsync.Report, error) {
	i.gate.Lock()
	defer i.gate.Unlock()
	return i.reports[len(i.reports)-1], i.done[len(i.done)-1]
}

func (i *incarnation) note(what func()) {
	i.gate.Lock()
	defer i.gate.Unlock()
	what()
}

// store is an incarnation as a shiftsync.Store: Leases and Publisher both have a Renew.
type store struct{ *incarnation }

func (s store) Renew(_ context.Context, o shiftsync.Owner, ttl time.Duration) error {
	_, err := s.step("renew", s.locked(func() error { return s.renewLease(o, ttl) }))
	return err
}

func (s store) Release(_ context.Context, o shiftsync.Owner) error {
	_, err := s.step("release", s.locked(func() error {
		if s.lease.Token == o.Token {
			s.lease.Owner = shiftsync.Owner{}
		}
		return nil
	}))
	return err
}

// worker returns a worker of this incarnation with settings for tests.
func (i *incarnation) worker() *shiftsync.Worker {
	w := &shiftsync.Worker{
		Source: i, Encoder: i, Publisher: i, Store: store{i}, Observer: i,
		Name: i.name, DaysAhead: 1, Sleep: 10 * time.Second, Keep: 7 * 24 * time.Hour, PendingLimit: cmp.Or(i.limit, 100_000),
		RepublishRate: 1000, BadShare: cmp.Or(i.badShare, 0.1), Deletes: i.deletes, GoneShare: i.share, StopTimeout: 30 * time.Second, Partition: "murmur2",
	}
	if i.buries {
		w.DeadLetters = i
	}
	return w
}

var (
	_ shiftsync.Source    = (*incarnation)(nil)
	_ shiftsync.Encoder   = (*incarnation)(nil)
	_ shiftsync.Publisher = (*incarnation)(nil)
	_ shiftsync.Store     = store{}
	_ shiftsync.Observer  = (*incarnation)(nil)

	_ shiftsync.DeadLetters = (*incarnation)(nil)
)
