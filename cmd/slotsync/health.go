package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// States of a worker, as its health tells them.
const (
	stateStarting = "starting" // it does not have the lease, nor has it seen another one with it
	stateActive   = "active"   // it holds the lease
	stateStandby  = "standby"  // another worker holds it
)

// rivalPause is the longest that a worker waits after it was fenced while it held the lease.
const rivalPause = 10 * time.Minute

// health knows whether the worker is alive, and whether it does its work. It is alive while the next sign of life is
// not overdue: a pass may last for hours, but not without a word of the API, a batch or an end. It is ready if the
// last pass decided everything, or if it stands by.
type health struct {
	wait     time.Duration // after a pass
	patience time.Duration // longest silence within a pass

	mu      sync.Mutex // guards all below
	state   string
	since   time.Time // when the state began
	sign    time.Time // the last sign of life
	due     time.Time // when the next one is overdue
	decided bool      // a pass has ended well since the worker became active
	fault   string    // why the worker is not ready, if it is known
	last    *lastPass
}

// lastPass is how the last pass ended.
type lastPass struct {
	Result    string    `json:"result"`
	Ended     time.Time `json:"ended"`
	TookMS    int64     `json:"took_ms"`
	Fetched   int       `json:"fetched"`
	Unchanged int       `json:"unchanged"`
	Published int       `json:"published"`
	SetAside  int       `json:"set_aside"`
	Pending   int       `json:"pending"`
}

// condition is what is told of the worker's health.
type condition struct {
	State    string    `json:"state"`
	Since    time.Time `json:"since"`
	Alive    bool      `json:"alive"`
	Ready    bool      `json:"ready"`
	Reason   string    `json:"reason,omitempty"` // why it is not alive or not ready; one line
	LastSign time.Time `json:"last_sign"`
	LastPass *lastPass `json:"last_pass,omitempty"`
}

func newHealth(cfg *config) *health {
	h := &health{wait: cfg.Sync.Wait, patience: patience(cfg), state: stateStarting, since: time.Now()}
	h.alive(h.wait)
	return h
}

// patience is above the longest silence that can be within a pass: a wait for a turn at the API, for the bytes of its
// answer, and for the next attempt, which may be a minute away, as that at a login may be; or for the registry, Kafka and Redis one after the other,
// whose own limits together are below two minutes.
func patience(cfg *config) time.Duration {
	turn := time.Minute / time.Duration(cfg.WIW.Rate)
	return turn + 2*cfg.WIW.Timeout + 2*time.Minute
}

// alive notes a sign of life, after which nothing has to be heard for a while and the usual patience.
func (h *health) alive(pause time.Duration) {
	h.sign = time.Now()
	h.due = h.sign.Add(pause + h.patience)
}

func (h *health) enter(state string) {
	if h.state != state {
		h.state, h.since = state, time.Now()
	}
	h.decided, h.fault = false, ""
}

func (h *health) standby() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alive(0)
	h.enter(stateStandby)
}

func (h *health) lost() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alive(0)
	h.enter(stateStarting)
}

func (h *health) took() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alive(0)
	h.enter(stateActive)
}

// progress notes that a pass goes on.
func (h *health) progress() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alive(0)
}

// done notes the end of a pass; result is ok, pending or failed.
func (h *health) done(rep shiftsync.Report, result string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	pause := h.wait
	if errors.Is(err, shiftsync.ErrFenced) {
		pause = max(pause, rivalPause)
	}
	h.alive(pause)
	h.decided, h.fault = result != resultFailed, ""
	if result == resultFailed {
		h.fault = oneLine(err.Error())
	}
	if rep.Pass == "" {
		return // none had begun
	}
	h.last = &lastPass{
		Result:    result,
		Ended:     shownTime(h.sign),
		TookMS:    rep.Took.Milliseconds(),
		Fetched:   rep.Fetched,
		Unchanged: rep.Unchanged,
		Published: rep.Published,
		SetAside:  rep.SetAside + rep.StillAside,
		Pending:   rep.Pending,
	}
}

// condition returns how the worker is now.
func (h *health) condition() condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := condition{State: h.state, Since: shownTime(h.since), LastSign: shownTime(h.sign), LastPass: h.last}
	now := time.Now()
	c.Alive = !now.After(h.due)
	switch {
	case !c.Alive:
		c.Reason = "no sign of life for " + now.Sub(h.sign).Round(time.Second).String() + ", " +
			h.due.Sub(h.sign).Round(time.Second).String() + " would be the longest"
	case h.fault != "":
		c.Reason = h.fault
	case h.state == stateStandby || h.decided:
		c.Ready = true
	default:
		c.Reason = "no pass has ended yet"
	}
	return c
}

// handler answers /healthz and /readyz: 200 for yes and 503 for no, both with the condition.
func (h *health) handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(good func(condition) bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			c := h.condition()
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			if !good(c) {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_ = json.NewEncoder(w).Encode(c) // who asked may have gone
		}
	}
	mux.HandleFunc("GET /healthz", answer(func(c condition) bool { return c.Alive }))
	mux.HandleFunc("GET /readyz", answer(func(c condition) bool { return c.Ready }))
	return mux
}

// shownTime is a time as people and scripts want to read it.
func shownTime(at time.Time) time.Time { return at.UTC().Truncate(time.Millisecond) }
