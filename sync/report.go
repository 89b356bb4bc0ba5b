package shiftsync

import (
	"fmt"
	"log/slog"
	"time"
)

// Tally counts shifts.
type Tally struct {
	Fetched      int // read from the source, repeats within an answer included
	Unchanged    int // as remembered, or as already intended
	Changed      int // new, or different from what is remembered
	SchemaOnly   int // different only in the schema they were written with; not in Changed
	Deferred     int // SchemaOnly ones left to a later pass by the rate limit
	Encoded      int // made records
	Unencodable  int // could not be made records
	Published    int // acknowledged by the broker and remembered, those of earlier passes included
	SetAside     int // bad, for the first time in this version
	Buried       int // dead letters that were acknowledged
	StillAside   int // bad, and set aside in this version before
	NotCollected int // changed, bad or gone, but the limit of open intents, or of letters that wait, was reached
	HeldBack     int // changed to a version that is older than a known one, and left until another pass has seen it too
	LookedUp     int // missing, and read one by one
	Gone         int // of these, those that were found not to exist any more; later passes count them no more
}

// Add adds the counts of u.
func (t *Tally) Add(u Tally) {
	t.Fetched += u.Fetched
	t.Unchanged += u.Unchanged
	t.Changed += u.Changed
	t.SchemaOnly += u.SchemaOnly
	t.Deferred += u.Deferred
	t.Encoded += u.Encoded
	t.Unencodable += u.Unencodable
	t.Published += u.Published
	t.SetAside += u.SetAside
	t.Buried += u.Buried
	t.StillAside += u.StillAside
	t.NotCollected += u.NotCollected
	t.HeldBack += u.HeldBack
	t.LookedUp += u.LookedUp
	t.Gone += u.Gone
}

// Report says what a pass did. It is valid for a failed pass too.
type Report struct {
	Tally
	Pass     string // id of the pass, as in the records' headers
	Window   Window
	Pending  int     // open intents at the end
	Unburied int     // dead letters that wait at the end
	Swept    int     // shifts dropped because they were not seen for long
	Called   bool    // the pass looked for missing shifts
	Missing  int     // if Called: remembered, should have been read and were not; without those known to be unlisted or gone
	GoneIDs  []int64 // some of those in Gone
	Notices  []string
	Took     time.Duration
}

// tooManyBad says that bad shifts are more than that share of those fetched, or returns nil. A single one is an accident,
// however small the window.
func (r Report) tooManyBad(share float64) error {
	bad := r.SetAside + r.StillAside
	if bad < 2 || float64(bad) <= share*float64(r.Fetched) {
		return nil
	}
	return fmt.Errorf("%w: %d of %d", ErrTooManyBad, bad, r.Fetched)
}

// LogValue returns the figures that are not always zero.
func (r Report) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("pass", r.Pass),
		slog.Int("fetched", r.Fetched),
		slog.Int("unchanged", r.Unchanged),
		slog.Int("published", r.Published),
		slog.Int("set_aside", r.SetAside+r.StillAside),
		slog.Int("pending", r.Pending),
		slog.Int64("took_ms", r.Took.Milliseconds()),
	}
	for _, extra := range []struct {
		key string
		n   int
	}{
		{"schema_only", r.SchemaOnly},
		{"deferred", r.Deferred},
		{"not_collected", r.NotCollected},
		{"dead_letters_pending", r.Unburied},
		{"held_back", r.HeldBack},
		{"missing", r.Missing},
		{"looked_up", r.LookedUp},
		{"gone", r.Gone},
		{"swept", r.Swept},
	} {
		if extra.n > 0 {
			attrs = append(attrs, slog.Int(extra.key, extra.n))
		}
	}
	return slog.GroupValue(attrs...)
}
