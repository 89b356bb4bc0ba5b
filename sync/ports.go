package shiftsync

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Source is where shifts come from.
type Source interface {
	// Read hands every shift that overlaps the window to add: its id (0 if it has none that can be read), a hash
	// of its bytes that also covers the version of Parse, and the bytes, which are only valid during the call.
	// The same id may come twice. Read stops at the first error of add and returns it.
	// Any other error means that the answer was not whole: what was handed on before it is true all the same, what
	// was not handed on is not known to be absent.
	Read(ctx context.Context, w Window, add func(id int64, hash uint64, raw []byte) error) error

	// ReadOne hands one shift to add as Read does, wherever it lies in time. ErrNoShift says that there is none, by the
	// source's own word; ErrNotShown, that the source keeps it, or whether there is one, to itself. After any other
	// error nothing is known of it.
	ReadOne(ctx context.Context, id int64, add func(id int64, hash uint64, raw []byte) error) error

	// Parse reads one shift from its bytes and overwrites all of into. It keeps no part of raw. An error is about
	// this shift alone and quotes nothing of its content.
	Parse(raw []byte, into *Shift) error
}

// ErrNoShift says that there is no such shift. It is proof: a shift may be declared gone because of it.
var ErrNoShift = errors.New("there is no such shift")

// ErrNotShown says that a shift is not to be had, and proves nothing about whether it exists.
var ErrNotShown = errors.New("the shift is not to be had")

// Encoder forms records.
type Encoder interface {
	// Prepare finds the schemas to write with and stays with them for some minutes, unless it is asked to look anew:
	// another worker may have found newer ones meanwhile. It is called before each pass.
	Prepare(ctx context.Context, anew bool) (Schemas, error)

	// Encode appends the record's key and value to buf and points into at them; buf is returned grown. Raw is left
	// to the caller. An error is about this shift alone and leaves buf at its old length.
	Encode(s *Shift, buf []byte, into *Record) ([]byte, error)

	// Tombstone appends the key of a shift that is gone to buf and points into at it. The value is nil, the fingerprint
	// that of an empty body, beside the schema that a value would have.
	Tombstone(id int64, buf []byte, into *Record) ([]byte, error)

	// Fingerprint returns what Encode would give under another schema that was in use before, so that a change of
	// schema can be told from a change of content.
	Fingerprint(ctx context.Context, s *Shift, schema SchemaID) (Fingerprint, error)
}

// Schemas are the schemas that records are written with.
type Schemas struct {
	Key, Value SchemaID
	Notices    []string // what an operator should know of how they were found
}

// Publisher hands records to the broker: in order for each key, and fenced against older workers.
type Publisher interface {
	// Topic asks the broker for the topic as it is now.
	Topic(ctx context.Context) (Topic, error)

	// Begin takes a new epoch, after which nothing sent in an older one can land behind what is sent in the new. A
	// takeover displaces whoever had the last one; without it, ErrFenced says that somebody newer is at work.
	// Partitions that were given up are tried again after Begin.
	Begin(ctx context.Context, takeover bool) error

	// Renew keeps the epoch from being forgotten by the broker. It does nothing when that is not due.
	Renew(ctx context.Context) error

	// Publish hands records to the broker and says of each what became of it. Outcomes are valid, one for each
	// record, even when err is not nil; err tells why some are Unsent or Unknown. ErrFenced among it means that
	// nothing of this worker will be taken any more. It looks at hold before each attempt, and past its end sends nothing.
	// Once a record of a partition is Unsent or Unknown, the partition's further records are Unsent until Begin.
	// The same id must not be given twice in one call.
	Publish(ctx context.Context, hold Hold, pass string, records []Record) ([]Outcome, error)
}

// DeadLetters is where bad versions of shifts go, for people to look at.
type DeadLetters interface {
	// Bury hands letters over and says of each whether it is acknowledged; one that is not may be there all the same.
	// Buried is valid, one for each letter, even when err is not nil; err tells why some are not. Bury takes bounded
	// time, and past the end of hold sends nothing. What it gave up it may still be reading when it has returned, so
	// what the letters hold must not be changed after that.
	Bury(ctx context.Context, hold Hold, letters []DeadLetter) (buried []bool, err error)
}

// DeadLetter is a version of a shift that cannot be published.
type DeadLetter struct {
	ID     int64  // 0: none that can be read
	Raw    uint64 // Version.Raw: with ID it names the letter
	Stage  Stage
	Reason string    // without the content
	Key    []byte    // of the record; nil if it never was one
	Body   []byte    // the shift's JSON as it came or, at StagePublish, the value of the record
	Pass   string    // id of the pass that set the shift aside
	Time   time.Time // when that was; the store keeps whole seconds
}

// Stage is how far a shift came.
type Stage string

const (
	StageParse   Stage = "parse"   // it could not be read
	StageEncode  Stage = "encode"  // it could not be made a record
	StagePublish Stage = "publish" // the broker refused its record
)

// Topic is what a broker tells of the topic.
type Topic struct {
	Ends map[int]int64 // partition to the offset that its next record gets
	// MaxRecordBytes is the largest record that the topic takes; 0: not known.
	MaxRecordBytes int
}

// Outcome says what became of a record that was handed to the broker.
type Outcome struct {
	Fate      Fate
	Partition int
	Offset    int64  // if Acknowledged
	Reason    string // if Refused: why, without the record's content
}

// Fate is the end, or not, of an attempt to publish.
type Fate uint8

const (
	Unknown      Fate = iota // it may or may not be in the topic, now or later
	Unsent                   // it is not in the topic and will not be
	Refused                  // it is not in the topic, and would be refused again as it is
	Acknowledged             // it is in the topic, on all in-sync replicas
)

// ErrNoTopic says that the topic does not exist.
var ErrNoTopic = errors.New("topic does not exist")

// ErrOtherCluster says that the brokers belong to another cluster than they did at first.
var ErrOtherCluster = errors.New("brokers belong to another cluster than before")

// ErrFenced says that the broker has seen a newer epoch of the same transactional id.
var ErrFenced = errors.New("fenced by a newer producer")

// Hold is the right to write, which may end at any time. Err returns nil while it lasts; it does not wait for a timer.
type Hold interface {
	Err() error
}

// ErrLeaseLost is the answer of each step that needs the lease, or the term, when the asker does not have it.
var ErrLeaseLost = errors.New("lease lost")

// Leases make one worker at a time the owner of a destination.
type Leases interface {
	// Acquire makes owner the holder for the length ttl if there is none, or if it is owner already. If another one
	// is, it names that one. In the same step it tells how things stand.
	Acquire(ctx context.Context, owner Owner, ttl time.Duration) (Standing, error)
	// Renew gives owner another ttl, or returns ErrLeaseLost.
	Renew(ctx context.Context, owner Owner, ttl time.Duration) error
	// Release ends the lease if owner holds it.
	Release(ctx context.Context, owner Owner) error
}

// Owner is a worker that holds the lease or wants it.
type Owner struct {
	Token string // unique to one tenure: never used again, even by the same process
	Name  string // for people: host and process
}

// Standing is how things stand with a destination when somebody asks for its lease.
type Standing struct {
	Holder string // of the lease, if another one is; empty: the asker is
	Open   int    // intents that stand
	// InStep is when a pass, of whichever worker, last left nothing undone, by the asker's clock; zero: it is not known.
	InStep time.Time
	Never  bool // none ever did, and InStep is when somebody first held the lease
}

// Term is what each step of the protocol names: the lease's owner, and the claim under which it works. A new claim
// makes all that was sent under the one before it void.
type Term struct {
	Owner string // Owner.Token
	Claim string // unique; empty before the first claim
}

// Ledger takes the steps of the protocol. Every step is atomic, answers ErrLeaseLost and changes nothing if the term
// is not the current one, and gives the same answer when it is repeated.
type Ledger interface {
	// Claim makes next the current term and then, before it returns, forgets what is remembered of all shifts with an
	// open intent, save when the shift is: it counts among those who may be Absent. It checks the lease only. After an
	// error it is to be repeated with the same term.
	Claim(ctx context.Context, next Term) (open int, err error)
	// Open returns some of the open intents and a cursor for the next call; cursor 0 begins and, returned, ends.
	// Each intent that stands from begin to end is returned at least once.
	Open(ctx context.Context, cursor uint64) (intents []Intent, next uint64, err error)
	// Intend writes the intents, each in the place of any older one of its shift.
	Intend(ctx context.Context, term Term, intents []Intent) (open int, err error)
	// Remember ends intents: of each one that still stands with its mark, what was acknowledged becomes what is
	// remembered of the shift; what was set aside is noted beside it, and its letter waits from then on. Others are
	// passed over.
	Remember(ctx context.Context, term Term, settled []Settled) (open int, err error)
}

// Intent is a record that is about to be published.
type Intent struct {
	Record
	Mark uint64 // of the batch; unique within a destination
}

// Settled is a record whose fate is known for good, or a shift that could not be made a record.
type Settled struct {
	ID   int64
	Mark uint64 // of its intent; 0 if there never was one, which only what is set aside can have
	Version
	Partition int         // if acknowledged
	Offset    int64       // if acknowledged
	Aside     string      // why it is set aside; empty: it was acknowledged
	Letter    *DeadLetter // of what is set aside, valid during the call; nil: nobody wants one
}

// Memory is what is remembered of the shifts: for each, the version that the broker acknowledged last.
type Memory interface {
	// Lookup fills into[i] with what is known of sightings[i]; both have the same length.
	Lookup(ctx context.Context, sightings []Sighting, into []Known) error
	// Refresh rewrites the raw hash and "last seen" of shifts whose content did not change, and their start if none is
	// remembered: of each that is still remembered with its Fingerprint, in one step with the check of the term.
	Refresh(ctx context.Context, term Term, seen []Seen) error
	// Wanted returns up to limit shifts that somebody wants published again and for which no intent stands. Such a
	// shift is not remembered, and it stays wanted until a record of an intent that came after the wish is acknowledged.
	Wanted(ctx context.Context, limit int) (ids []int64, err error)
	// Unwant ends the wish for a shift that is not to be had.
	Unwant(ctx context.Context, term Term, id int64) error
	// Doubt tells of each of the versions whether another pass than this one has doubted it before, and notes those of
	// which no pass has. What is remembered of a shift anew ends the doubt about it.
	Doubt(ctx context.Context, term Term, pass string, doubted []Doubted) (again []bool, err error)
	// Undoubt ends the doubt about shifts that were seen in the version that is remembered: the other one was a glimpse.
	Undoubt(ctx context.Context, term Term, ids []int64) error
	// Sweep drops what was not seen for longer than keep, when that is due. It is the last step of a pass, and with inStep
	// it notes first that this one left nothing undone just now, which Acquire tells.
	Sweep(ctx context.Context, term Term, keep time.Duration, inStep bool) (dropped int, err error)
}

// Sighting is one shift in an answer of the API.
type Sighting struct {
	ID  int64  // 0: none that can be read
	Raw uint64 // Version.Raw
	// JSON is the shift as it came, valid until its batch is done.
	JSON []byte
}

// Known is what the store holds of one shift.
type Known struct {
	Remembered bool
	Version            // if Remembered
	Partition  int     // if Remembered: where its record is
	Offset     int64   // if Remembered: where its record is
	Stale      bool    // if Remembered: "last seen" is so old that it has to be written anew
	Pending    bool    // an intent stands
	Intended   Version // if Pending
	Doubted    bool    // a version of it is doubted
	Aside      uint64  // Version.Raw of the version that was set aside; 0: none
}

// Seen is a shift that was read again and had not changed.
type Seen struct {
	ID          int64
	Fingerprint Fingerprint // as it was read
	Raw         uint64      // to be remembered with it
	StartTime   time.Time   // to be remembered where none is; zero: not known
}

// Doubted is a version that was read and is older than one that is known.
type Doubted struct {
	ID          int64
	Fingerprint Fingerprint
}

// Roll is the list of who should be in the window, and what became of those who are not.
type Roll interface {
	// RollDue tells whether the last roll call is every ago or longer. Who called it makes no difference.
	RollDue(ctx context.Context, term Term, every time.Duration) (bool, error)
	// RollCalled notes that the roll was called just now, for the window, and drops the notes of shifts that are not
	// missing any more: they were seen, are not remembered, or do not overlap it.
	RollCalled(ctx context.Context, term Term, w Window, seen func(id int64) bool) error
	// Absent hands to tell every shift that is remembered to overlap the window and of which seen says no, unless it is
	// a tombstone or an intent of it stands. One of which it is not known when it begins counts as one that has begun.
	// One that is told twice is counted twice. What was forgotten by Claim, Bind or Forget is among them, and so is then,
	// though it does not overlap the window and is not counted, a tombstone.
	Absent(ctx context.Context, w Window, seen func(id int64) bool, tell func(Absent)) (Census, error)
	// Note notes what became of shifts.
	Note(ctx context.Context, term Term, notes []Note) error
}

// Census counts what is remembered.
type Census struct {
	Expected int // shifts that overlap the window, those that were seen included
	Ended    int // shifts whose tombstone was acknowledged within GuardSpan, wherever in time they lay
}

// Absent is a shift that is remembered and was not in an answer that should have brought it.
type Absent struct {
	ID int64
	Finding
	Due   bool // it may be asked for now
	Ended bool // it had a tombstone, which was forgotten: the topic may have lost it
}

// Note says what became of a shift that was asked for, and after what time to ask again. Unasked takes the note away.
type Note struct {
	ID int64
	Finding
	Wait time.Duration // whole seconds
}

// Finding is what is known of a shift that was missing.
type Finding struct {
	Last  Absence // what it turned out to be when it was asked for last
	Asked int     // how often it was
}

// Absence is why a shift is not in an answer.
type Absence uint8

const (
	Unasked   Absence = iota // it was not asked for
	Unclear                  // that could not be found out
	Unlisted                 // it exists, in the window, and the source does not list it
	Gone                     // there is no such shift, and no tombstone was wanted
	Denied                   // the source says that there is no such shift, and too many were gone to believe it
	Elsewhere                // it exists, outside of the window, though it is remembered to be inside
)

// Letters are the dead letters that wait until they are acknowledged. Nothing else ends their waiting.
type Letters interface {
	// CountLetters returns how many wait.
	CountLetters(ctx context.Context) (int, error)
	// Letters returns some of those that wait and a cursor for the next call; cursor 0 begins and, returned, ends. Each
	// one that waits from begin to end is returned at least once, save what cannot be read: another release wrote it.
	Letters(ctx context.Context, cursor uint64) (letters []DeadLetter, next uint64, err error)
	// Delivered ends the waiting of letters that were acknowledged.
	Delivered(ctx context.Context, term Term, letters []DeadLetter) error
}

// Layouts hold what must not change under a destination's feet.
type Layouts interface {
	// Bind compares each field with what is remembered, and remembers those that were not. A difference is a
	// *LayoutError, or, if accept is set, makes all shifts forgotten, and the new one remembered. When they are is kept,
	// unless it is the account that differs. It checks the lease.
	Bind(ctx context.Context, owner Owner, l Layout, accept bool) error
	// Bound returns what is remembered of the layout.
	Bound(ctx context.Context) (Layout, error)
	// Ends returns the highest acknowledged offset of each partition.
	Ends(ctx context.Context) (map[int]int64, error)
	// Forget drops what is remembered of every shift, save when it is and whether it had a tombstone, and Ends. Intents
	// stand. It checks the lease.
	Forget(ctx context.Context, owner Owner) error
}

// Layout is what decides into which partition a key goes and whose shifts they are. Order, compaction and the fence
// hold for one layout only. A zero field is not compared.
type Layout struct {
	Partitions int      // of the topic
	Fixed      string   // the one partition that all records go to, or "murmur2"
	KeySchema  SchemaID // part of the key's bytes
	Account    int64    // When I Work account
}

// Differences returns how now differs from l, which is remembered: a *LayoutError for each field that both tell.
func (l Layout) Differences(now Layout) (differences []error) {
	compare := func(what string, was, is any, told bool) {
		if told && was != is {
			differences = append(differences, &LayoutError{What: what, Was: fmt.Sprint(was), Now: fmt.Sprint(is)})
		}
	}
	compare("the When I Work account", l.Account, now.Account, l.Account != 0 && now.Account != 0)
	compare("the topic's number of partitions", l.Partitions, now.Partitions, l.Partitions != 0 && now.Partitions != 0)
	compare("the partition that records go to", l.Fixed, now.Fixed, l.Fixed != "" && now.Fixed != "")
	compare("the schema id of the key", l.KeySchema, now.KeySchema, l.KeySchema != 0 && now.KeySchema != 0)
	return differences
}

// LayoutError says that a destination was written with another layout.
type LayoutError struct {
	What     string // the field, in words
	Was, Now string
}

func (e *LayoutError) Error() string {
	return e.What + " was " + e.Was + " and is now " + e.Now
}

// Store is all that is kept between passes, for one destination.
type Store interface {
	Leases
	Ledger
	Memory
	Roll
	Letters
	Layouts
}

// Observer is told what happens, as it happens. Its methods must not block.
type Observer interface {
	Standby(Standing)              // another worker holds the lease; told with each answer while that is so
	Unanswered()                   // it was asked for the lease in vain; Done tells why, from time to time
	Acquired(Standing)             // this worker has taken the lease, and its passes begin
	Lost()                         // this worker no longer has the lease, and may not know who has
	Took(open int)                 // this worker has claimed what the ones before it left: so many intents
	Reading()                      // a pass is about to read the source
	Batch(Tally)                   // what happened since the last call
	SetAside(id int64, why string) // a version of a shift was set aside; told once a version
	Done(Report, error)            // a pass has ended
}
