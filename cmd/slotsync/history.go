package main

import (
	"time"
	"unicode/utf8"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// How much is remembered of what was, so that a worker that runs for a year needs no more memory than one of an hour.
const (
	keptPasses  = 200
	keptAside   = 20
	keptNotices = 5    // of a pass
	keptReason  = 1000 // bytes; an error may have a line for each partition
)

// endedPass is how a pass ended, or trouble that let none begin.
type endedPass struct {
	ID           string    `json:"id,omitempty"` // as in the records' headers; empty: none had begun
	Began        time.Time `json:"began"`
	Ended        time.Time `json:"ended"`
	TookMS       int64     `json:"took_ms"`
	Result       string    `json:"result"` // ok, pending or failed
	Fetched      int       `json:"fetched"`
	Unchanged    int       `json:"unchanged"`
	Published    int       `json:"published"`
	SetAside     int       `json:"set_aside"`
	Pending      int       `json:"pending"`
	Unburied     int       `json:"dead_letters_pending,omitempty"`
	NotCollected int       `json:"not_collected,omitempty"`
	SchemaOnly   int       `json:"schema_only,omitempty"`
	Deferred     int       `json:"deferred,omitempty"`
	HeldBack     int       `json:"held_back,omitempty"`
	Missing      int       `json:"missing,omitempty"`
	LookedUp     int       `json:"looked_up,omitempty"`
	Gone         int       `json:"gone,omitempty"`
	Swept        int       `json:"swept,omitempty"`
	Cause        cause     `json:"cause,omitempty"`
	Reason       string    `json:"reason,omitempty"` // why it is not ok; one line
	Notices      []string  `json:"notices,omitempty"`
}

func newEndedPass(rep shiftsync.Report, result string, err error, at time.Time) endedPass {
	p := endedPass{
		ID:           rep.Pass,
		Began:        shownTime(at.Add(-rep.Took)),
		Ended:        shownTime(at),
		TookMS:       rep.Took.Milliseconds(),
		Result:       result,
		Fetched:      rep.Fetched,
		Unchanged:    rep.Unchanged,
		Published:    rep.Published,
		SetAside:     rep.SetAside + rep.StillAside,
		Pending:      rep.Pending,
		Unburied:     rep.Unburied,
		NotCollected: rep.NotCollected,
		SchemaOnly:   rep.SchemaOnly,
		Deferred:     rep.Deferred,
		HeldBack:     rep.HeldBack,
		Missing:      rep.Missing,
		LookedUp:     rep.LookedUp,
		Gone:         rep.Gone,
		Swept:        rep.Swept,
	}
	if result != resultOK {
		p.Cause = causeOf(err)
	}
	if err != nil {
		p.Reason = reasonOf(err)
	}
	for _, notice := range rep.Notices[:min(len(rep.Notices), keptNotices)] {
		p.Notices = append(p.Notices, cut(oneLine(notice)))
	}
	return p
}

// figures are those that are told of the pass, as in the log.
func (p *endedPass) figures() []figure {
	return figures(shiftsync.Report{
		Tally: shiftsync.Tally{
			Fetched: p.Fetched, Unchanged: p.Unchanged, Published: p.Published, SetAside: p.SetAside,
			NotCollected: p.NotCollected, Deferred: p.Deferred, HeldBack: p.HeldBack, Gone: p.Gone,
		},
		Pending: p.Pending, Unburied: p.Unburied, Missing: p.Missing, Swept: p.Swept,
	})
}

// asideNote is a version of a shift that was set aside.
type asideNote struct {
	ID     int64     `json:"id"` // 0: none that could be read
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// last appends to what is kept and drops what is too old.
func last[T any](kept []T, next T, most int) []T {
	kept = append(kept, next)
	return kept[max(0, len(kept)-most):]
}

// reasonOf is an error as it stands in the log, of a length that can be kept.
func reasonOf(err error) string { return cut(oneLine(err.Error())) }

func cut(text string) string {
	if len(text) <= keptReason {
		return text
	}
	end := keptReason
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + " …"
}
