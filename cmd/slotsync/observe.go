package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw"
)

// How a pass can end.
const (
	resultOK      = "ok"
	resultPending = "pending" // all decided, not all acknowledged
	resultFailed  = "failed"
)

const (
	standbyEvery = time.Minute // between two lines that say so
	asideLines   = 20          // of one pass; the rest is counted
	forgetNotice = 10          // passes without it, after which a notice is news again
)

// observer tells people what the worker does: it logs, draws and measures.
type observer struct {
	log      *slog.Logger
	stats    *metrics
	screen   *screen
	health   *health
	desk     *desk         // where people ask for a shift
	readable bool          // the log is for people
	wait     time.Duration // after a pass; negative: there is no next one

	mu       sync.Mutex // guards all below
	holder   string     // of the lease, as last logged
	logged   time.Time  // when that was
	sofar    shiftsync.Tally
	aside    int            // set aside in this pass
	noticed  map[string]int // to how many passes ago it was told of last
	failures int            // passes in trouble, in a row
	skewed   bool           // the API's clock differed, as last logged
	repeats  repeats        // of that trouble
}

var _ shiftsync.Observer = (*observer)(nil)

func newObserver(cfg *config, log *slog.Logger, stats *metrics, screen *screen) *observer {
	o := &observer{log: log, noticed: map[string]int{}, stats: stats, screen: screen, health: newHealth(cfg), desk: newDesk(), readable: readable(screen, cfg), wait: cfg.Sync.Wait}
	if cfg.Once {
		o.wait = -1
	}
	return o
}

// enters tells who measures and who is asked how this worker stands to the lease.
func (o *observer) enters(state string, found shiftsync.Standing) {
	o.stats.enters(tenure{state, found})
	o.health.enters(tenure{state, found})
}

// Standby logs at once, and then each minute while nothing changes.
func (o *observer) Standby(found shiftsync.Standing) {
	o.enters(stateStandby, found)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.troubleIsOver() // here it is: what becomes of the topic is told by the other one
	holder := found.Holder
	if holder == o.holder && time.Since(o.logged) < standbyEvery {
		return
	}
	o.holder, o.logged = holder, time.Now()
	o.log.Info("standing by: another worker holds the lease", "holder", holder)
}

// Unanswered is a sign of life and no more: Done tells why, from time to time.
func (o *observer) Unanswered() { o.health.progress() }

// Acquired logs the begin of a tenure. It is told before anything is asked of Kafka: whoever holds the lease is the one to
// tell how things stand, though it can do nothing yet.
func (o *observer) Acquired(found shiftsync.Standing) {
	o.stats.took()
	o.enters(stateActive, found)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holder = ""
	o.log.Info("took the lease", "open_intents", found.Open)
}

// Lost tells that this worker has stopped being the holder.
func (o *observer) Lost() {
	o.stats.lost()
	o.enters(stateStarting, shiftsync.Standing{})
	o.log.Warn("lost the lease: it could not be renewed in time, or Redis has forgotten it")
}

// Took notes that the first pass of a tenure goes on.
func (o *observer) Took(open int) {
	o.health.progress()
	o.log.Debug("claimed what was left open", "open_intents", open)
}

// Reading starts the pass's clock and counts.
func (o *observer) Reading() {
	o.stats.reading()
	o.health.reading()
	o.screen.begin()
}

// Batch measures, and shows how far the pass is.
func (o *observer) Batch(t shiftsync.Tally) {
	o.stats.batch(t)
	o.health.batch(t)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sofar.Add(t)
	o.screen.show(o.sofar.Fetched, o.sofar.Published)
}

// Asked measures an attempt to get an answer of the API.
func (o *observer) Asked(r wiw.Response) {
	o.health.progress()
	if r.Class != "error" {
		o.health.needs.heard(causeAPI, time.Now())
	}
	if r.Class == "2xx" {
		o.health.needs.recovers(causeAPI)
	}
	o.stats.request(r.Class, r.Latency)
	if r.Remaining >= 0 {
		o.stats.remaining(r.Remaining)
	}
	if !r.Date.IsZero() {
		o.compareClocks(time.Until(r.Date))
	}
}

// Retries tells at once of an attempt that went wrong and is followed by another: the whole request may take minutes to
// fail. Once passes fail for it, their lines tell enough.
func (o *observer) Retries(err error, wait time.Duration) {
	var said *wiw.StatusError
	if !errors.As(err, &said) || said.Status >= 500 {
		o.health.needs.retries(causeAPI, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	level := slog.LevelWarn
	if o.failures > 0 {
		level = slog.LevelDebug
	}
	o.log.Log(context.Background(), level, "when i work: asked again", "err", err, "in_s", wait.Round(100*time.Millisecond).Seconds())
}

// compareClocks warns, once, when the API's clock is ahead of ours, or behind: at another time than we take it for, other
// shifts are due, and nothing else would show that they are missing.
func (o *observer) compareClocks(ahead time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch skewed := ahead.Abs() > maxSkew; {
	case skewed && !o.skewed:
		o.skewed = true
		o.log.Warn("this machine's clock differs from the API's, and the window is counted from it: set it (NTP)", "behind_s", int(ahead.Round(time.Second).Seconds()))
	case !skewed && o.skewed:
		o.skewed = false
		o.log.Info("this machine's clock is right again")
	}
}

// SetAside names the first shifts of a pass, and Done counts the rest: a thousand bad shifts have one cause.
func (o *observer) SetAside(id int64, why string) {
	o.health.setAside(id, why)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.aside++
	if o.aside <= asideLines {
		o.log.Warn("shift set aside", "id", id, "why", why)
	}
}

// Done says how the pass ended.
func (o *observer) Done(rep shiftsync.Report, err error) {
	err = advised(err)
	o.screen.end()
	if !stopped(err) { // else none had the chance to end
		o.stats.done(rep, resultOf(rep, err), err)
		o.health.done(rep, resultOf(rep, err), err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if more := o.aside - asideLines; more > 0 {
		o.log.Warn("more shifts were set aside", "count", more)
	}
	maps.DeleteFunc(o.noticed, func(text string, ago int) bool {
		o.noticed[text]++
		return ago+1 > forgetNotice
	})
	for _, notice := range rep.Notices {
		text := withoutNumbers(notice)
		if _, known := o.noticed[text]; !known {
			o.log.Warn("notice", "text", notice)
		}
		o.noticed[text] = 0
	}
	if rep.Gone > 0 {
		o.log.Info("shifts were deleted", "count", rep.Gone, "ids", rep.GoneIDs)
	}
	o.sofar, o.aside = shiftsync.Tally{}, 0

	if stopped(err) && o.readable {
		o.log.Info(o.cutShort("pass stopped", rep, err))
		return
	}
	if stopped(err) {
		o.log.Info("pass stopped", "report", rep, "cause", err)
		return
	}
	result := resultOf(rep, err)
	if err == nil {
		o.troubleIsOver()
		o.say(slog.LevelInfo, rep, result, nil)
		return
	}
	o.failures++
	level, extra := slog.LevelWarn, []any(nil)
	if result == resultFailed {
		level = slog.LevelError
	}
	switch now, held := o.repeats.due(result+" "+string(causeOf(err)), err.Error()); {
	case !now && rep.Published == 0:
		level = slog.LevelDebug
	case held > 0:
		extra = []any{"repeats", held}
	}
	o.say(level, rep, result, err, extra...)
}

// troubleIsOver says so if there was any. The lock is held.
func (o *observer) troubleIsOver() {
	if o.failures > 0 {
		o.log.Info("trouble is over", "passes_in_trouble", o.failures)
	}
	o.failures, o.repeats = 0, repeats{}
}

// say is the line of a pass.
func (o *observer) say(level slog.Level, rep shiftsync.Report, result string, err error, extra ...any) {
	text := "pass done"
	switch {
	case result == resultFailed && o.readable:
		text = o.cutShort("pass failed", rep, err)
	case result == resultFailed:
		text = "pass failed"
	case o.readable:
		text = o.sentence(rep, result)
	}
	switch {
	case !o.readable:
		extra = append(o.attrs(rep, result, err), extra...)
	case result != resultFailed && err != nil:
		extra = append([]any{"err", err}, extra...)
	}
	o.log.Log(context.Background(), level, text, extra...)
}

func (o *observer) attrs(rep shiftsync.Report, result string, err error) []any {
	attrs := []any{"report", rep, "result", result}
	if err != nil {
		attrs = append(attrs, "reason", causeOf(err), "err", err)
	}
	if o.wait >= 0 {
		attrs = append(attrs, "next_in_s", o.wait.Seconds())
	}
	return attrs
}

// sentence is the report in words.
func (o *observer) sentence(rep shiftsync.Report, result string) string {
	var b strings.Builder
	if result == resultPending {
		b.WriteString("not ")
	}
	b.WriteString("in step: ")
	for i, f := range figures(rep) {
		if i < usualFigures || f.n > 0 {
			b.WriteString(f.String() + ", ")
		}
	}
	fmt.Fprintf(&b, "%.1f s", rep.Took.Seconds())
	if o.wait >= 0 {
		fmt.Fprintf(&b, ", next in %g s", o.wait.Seconds())
	}
	return b.String()
}

// cutShort says in words that a pass did not come to its end, and why; what it did all the same stands last.
func (o *observer) cutShort(what string, rep shiftsync.Report, err error) string {
	if rep.Pass != "" { // else none had begun
		what += fmt.Sprintf(" after %.1f s", rep.Took.Seconds())
	}
	var besides []string
	for _, f := range figures(rep) {
		if f.n > 0 {
			besides = append(besides, f.String())
		}
	}
	if o.wait >= 0 && !stopped(err) {
		besides = append(besides, fmt.Sprintf("next in %g s", o.wait.Seconds()))
	}
	text := what + ": " + err.Error()
	if len(besides) > 0 {
		text += " (" + strings.Join(besides, ", ") + ")"
	}
	return text
}

// figure is a number of shifts, and what they are.
type figure struct {
	n    int
	what string
}

func (f figure) String() string { return grouped(f.n) + " " + f.what }

// usualFigures are told of a pass that came to its end even if they are zero.
const usualFigures = 4

func figures(rep shiftsync.Report) []figure {
	return []figure{
		{rep.Fetched, "fetched"},
		{rep.Unchanged, "unchanged"},
		{rep.Published, "published"},
		{rep.SetAside + rep.StillAside, "set aside"},
		{rep.Pending, "pending"},
		{rep.Unburied, "dead letters waiting"},
		{rep.NotCollected, "not collected"},
		{rep.Deferred, "left for later"},
		{rep.HeldBack, "held back"},
		{rep.Missing, "missing"},
		{rep.Gone, "deleted"},
		{rep.Swept, "forgotten"},
	}
}

func resultOf(rep shiftsync.Report, err error) string {
	switch {
	case errors.Is(err, shiftsync.ErrPending), err == nil && rep.Pending > 0:
		return resultPending
	case err != nil:
		return resultFailed
	default:
		return resultOK
	}
}

// readWhole tells whether the pass read the window to its end, so that its figures are about all of it.
func readWhole(rep shiftsync.Report, result string, err error) bool {
	return rep.Pass != "" && (result != resultFailed || rep.Fetched > 0 && errors.Is(err, shiftsync.ErrTooManyBad) || errors.Is(err, shiftsync.ErrPendingLimit))
}

// stopped tells whether the pass ended because the worker was told to, which is no failure.
func stopped(err error) bool {
	return errors.Is(err, context.Canceled) && !errors.Is(err, shiftsync.ErrLeaseLost) && !errors.Is(err, shiftsync.ErrFenced)
}
