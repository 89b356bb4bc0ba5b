package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/slotsync/slotsync/publish"
	shiftsync "github.com/slotsync/slotsync/sync"
)

const (
	startingEvent    = "slot_sync is starting"
	startingEventTag = "application_start"
	everyGauge       = 10 * time.Second
	lagPoints        = 20               // of one batch: an import may have thousands of them
	lagAtFirst       = 24 * time.Hour   // before that, a first pass sends what is old and not late
	clockSkew        = time.Minute      // between the API and this machine
	longestStart     = 15 * time.Minute // of a worker that knows nothing of the topic; later that is an alarm of its own
)

// Roles of a worker.
const (
	roleHolder  = "holder"  // of the lease
	roleWaiting = "waiting" // for it: a standby, or one that does not know who has it
)

// sink is where points go. None of its calls waits for anybody, and a point that is lost is lost.
type sink interface {
	// put takes a point. Values are those of the metric's tags, in their order.
	put(m *metric, value float64, values []string)
	// drop ends a gauge of which nothing is known any more; values as for put.
	drop(m *metric, values []string)
	// Close sends what is left.
	Close() error
}

// metrics tells every sink what is measured.
type metrics struct {
	byName map[string]*metric
	sinks  []sink
	agent  *dogStatsD // one of the sinks; nil: none
	page   *promPage  // one of the sinks; nil: none
	limit  int        // PENDING_LIMIT; 0: not told

	stop  chan struct{}
	timer sync.WaitGroup

	sampled  sync.Mutex // one at a time: they tell differences. Guards samplers, which may wait for the network
	samplers []*sampler
	due      chan struct{} // holds a wish to have them read

	mu       sync.Mutex // guards all below
	tenure   tenure
	inStep   time.Time // when a pass, of whichever worker, last left nothing undone
	known    bool      // inStep is that; else it is when this process began
	failures int       // passes that failed, in a row
	reads    time.Time // when this pass began to read
	changes  time.Time // what changed before was published before, or is sent for another reason than a change
	checked  bool      // a pass has ended, or failed to begin, since another worker was last seen with the lease
	status   serviceStatus
}

// sampler reads figures that somebody else counts.
type sampler struct{ read func() }

// newMetrics connects to where the settings say. Without such a place, or if it is not found, nothing is sent, which is
// logged.
func newMetrics(cfg *config, log *slog.Logger) *metrics {
	m := &metrics{agent: dialStatsD(cfg, log), limit: cfg.Limits.Pending}
	if cfg.servesHTTP() {
		m.page = newPromPage(log)
	}
	return m.start()
}

// noMetrics measures for nobody.
func noMetrics() *metrics { return (&metrics{}).start() }

// start begins to tell of what must not stand still.
func (m *metrics) start() *metrics {
	m.byName = map[string]*metric{}
	for _, x := range metricList() {
		m.byName[x.Name] = &x
	}
	if m.agent != nil {
		m.sinks = append(m.sinks, m.agent)
	}
	if m.page != nil {
		m.sinks = append(m.sinks, m.page)
	}
	m.due = make(chan struct{}, 1)
	m.stop, m.inStep, m.changes = make(chan struct{}), time.Now(), time.Now().Add(-lagAtFirst)
	m.timer.Go(m.keepTelling)
	m.timer.Go(m.keepSampling)
	return m
}

func (m *metrics) put(name string, value float64, values ...string) {
	x := m.byName[name]
	for _, s := range m.sinks {
		s.put(x, value, values)
	}
}

func (m *metrics) drop(name string, values ...string) {
	for _, s := range m.sinks {
		s.drop(m.byName[name], values)
	}
}

// count tells of something that happened. What did not happen is told of nowhere but at /metrics.
func (m *metrics) count(name string, n int, values ...string) {
	if n > 0 {
		m.put(name, float64(n), values...)
	}
}

// starting sends the event that slot_sync sent when it started.
func (m *metrics) starting() {
	if m.agent != nil {
		m.agent.starting()
	}
}

// enters notes how this worker stands to the lease from now on.
func (m *metrics) enters(t tenure) {
	m.mu.Lock()
	m.tenure = t
	if t.knows() {
		m.inStep, m.known = t.InStep, true
	}
	if t.state == stateStandby { // how its own last pass ended says nothing any more
		m.checked, m.failures = false, 0
	}
	m.mu.Unlock()
	if t.state == stateActive {
		m.put(metricPending, float64(t.Open))
	}
	m.tell()
}

// took counts a lease that this worker took, and lost one that it did not give back.
func (m *metrics) took() { m.count(metricTaken, 1) }
func (m *metrics) lost() { m.count(metricLost, 1) }

func (m *metrics) reading() {
	m.mu.Lock()
	m.reads = time.Now()
	m.mu.Unlock()
	m.count(metricGet, 1)
}

func (m *metrics) batch(t shiftsync.Tally) {
	m.count(metricMatched, t.Unchanged)
	m.count(metricUnmatched, t.Changed)
	m.count(metricEncoded, t.Encoded)
	m.count(metricUnencodable, t.Unencodable)
	m.count(metricFetched, t.Fetched)
	m.count(metricPublished, t.Published)
	m.count(metricSchemaOnly, t.SchemaOnly)
	m.count(metricSetAside, t.SetAside)
	m.count(metricBuried, t.Buried)
	m.count(metricHeldBack, t.HeldBack)
	m.count(metricLookedUp, t.LookedUp)
	m.count(metricGone, t.Gone)
}

// done notes the end of a pass; result is ok, pending or failed. A report without a pass is of one that could not begin.
func (m *metrics) done(rep shiftsync.Report, result string, err error) {
	if result != resultOK {
		m.count(metricTrouble, 1, string(causeOf(err)))
	}
	m.mu.Lock()
	m.failures++
	if result != resultFailed {
		m.failures = 0
	}
	if result == resultOK {
		m.inStep, m.known = time.Now(), true
		if !m.reads.IsZero() {
			m.changes = m.reads.Add(-clockSkew)
		}
	}
	m.checked, m.status = true, statusOf(result, err)
	m.mu.Unlock()
	if rep.Pass != "" {
		m.put(metricPassDuration, rep.Took.Seconds(), result)
		m.put(metricPending, float64(rep.Pending))
		m.put(metricUnburied, float64(rep.Unburied))
		m.put(metricNotCollected, float64(rep.NotCollected))
		m.put(metricDeferred, float64(rep.Deferred))
		m.count(metricSwept, rep.Swept)
		if readWhole(rep, result, err) {
			m.put(metricAside, float64(rep.SetAside+rep.StillAside))
		}
		if rep.Called {
			m.put(metricMissing, float64(rep.Missing))
		}
	}
	select {
	case m.due <- struct{}{}:
	default:
	}
	m.tell()
	m.check()
}

// request measures one attempt to get an answer of the API.
func (m *metrics) request(class string, took time.Duration) {
	m.count(metricRequests, 1, class)
	m.put(metricRequest, took.Seconds(), class)
}

// remaining notes how many requests the API says are left.
func (m *metrics) remaining(n int) { m.put(metricLimit, float64(n)) }

// tokenLeft notes how long the session token still lasts.
func (m *metrics) tokenLeft(left time.Duration) { m.put(metricToken, left.Seconds()) }

// loginTried counts an attempt to log in, and loggedIn one that gave a token.
func (m *metrics) loginTried() { m.count(metricLoginTries, 1) }
func (m *metrics) loggedIn()   { m.count(metricLogins, 1) }

// unknownDate counts a date that could not be read.
func (m *metrics) unknownDate() { m.count(metricUnknownDates, 1) }

// step measures a step that a port took.
func (m *metrics) step(step string, took time.Duration, err error) {
	m.put(metricStep, took.Seconds(), step)
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, shiftsync.ErrLeaseLost) { // which are answers
		m.count(metricStepErrors, 1, step)
	}
}

// outcomes counts what became of records, and measures how far some that arrived lag behind the API.
func (m *metrics) outcomes(records []shiftsync.Record, outcomes []shiftsync.Outcome, now time.Time) {
	m.mu.Lock()
	changes := m.changes
	m.mu.Unlock()
	fates := map[shiftsync.Fate]int{}
	var arrived []time.Time
	for i, o := range outcomes {
		fates[o.Fate]++
		if at := records[i].UpdatedAt; o.Fate == shiftsync.Acknowledged && at.After(changes) && records[i].Value != nil {
			arrived = append(arrived, at)
		}
	}
	m.count(metricRecords, fates[shiftsync.Acknowledged], "acknowledged")
	m.count(metricRecords, fates[shiftsync.Refused], "refused")
	m.count(metricRecords, fates[shiftsync.Unsent], "unsent")
	m.count(metricRecords, fates[shiftsync.Unknown], "unknown")
	every := max(1, (len(arrived)+lagPoints-1)/lagPoints)
	for i := 0; i < len(arrived); i += every {
		m.put(metricLag, max(0, now.Sub(arrived[i]).Seconds())) // clocks differ
	}
}

// pool tells of the connections to Redis, and what became of them since the last time.
func (m *metrics) pool(used, idle, timeouts, misses int) {
	m.put(metricPool, float64(used), "used")
	m.put(metricPool, float64(idle), "idle")
	m.count(metricPoolTimeouts, timeouts)
	m.count(metricPoolMisses, misses)
}

// produced tells what the producer did since the last time.
func (m *metrics) produced(f publish.Figures) {
	m.count(metricBatches, int(f.Batches))
	m.count(metricRetries, int(f.Retries))
	m.count(metricUnknown, int(f.Unknown))
	m.count(metricEpochs, int(f.Epochs))
	m.count(metricBytes, int(f.Bytes))
}

// sampling calls read after each pass, every 10 s, and a last time when what it returns is called.
func (m *metrics) sampling(read func()) (end func()) {
	s := &sampler{read}
	m.sampled.Lock()
	m.samplers = append(m.samplers, s)
	m.sampled.Unlock()
	return func() {
		m.sampled.Lock()
		defer m.sampled.Unlock()
		s.read()
		s.read = func() {}
	}
}

func (m *metrics) sample() {
	m.sampled.Lock()
	defer m.sampled.Unlock()
	for _, s := range m.samplers {
		s.read()
	}
}

// keepTelling repeats the gauges that must not stand still when a pass does.
func (m *metrics) keepTelling() {
	ticker := time.NewTicker(everyGauge)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.tell()
			m.check()
		case <-m.stop:
			return
		}
	}
}

// keepSampling is apart from it: a sampler that hangs must not hold up an age that grows meanwhile.
func (m *metrics) keepSampling() {
	ticker := time.NewTicker(everyGauge)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-m.due:
		case <-m.stop:
			return
		}
		m.sample()
	}
}

func (m *metrics) tell() {
	m.mu.Lock()
	state, standsBy := m.tenure.state, m.standsBy()
	age := time.Since(m.inStep)
	told := m.known || state != stateStandby && age >= longestStart
	failures := m.failures
	m.mu.Unlock()
	if m.limit > 0 {
		m.put(metricPendingLimit, float64(m.limit))
	}
	// The workers behind one agent are told apart by their roles: else the 0 of a standby overwrites the holder's 1.
	if state == stateActive {
		m.drop(metricActive, roleWaiting)
		m.put(metricActive, 1, roleHolder)
	} else {
		m.drop(metricActive, roleHolder)
		m.put(metricActive, 0, roleWaiting)
	}
	// The age is the topic's, so that a standby tells it too: the holder that it sees may be dead, and a worker that ends
	// again and again is little else than a standby. Who knows nothing yet tells nothing, since what it told would be
	// younger than the truth; but a start that hangs must be seen.
	m.tellIf(told, metricPassAge, age.Seconds())
	m.tellIf(!standsBy, metricFailures, float64(failures))
	if state == stateStandby {
		for _, name := range []string{metricPending, metricUnburied, metricNotCollected, metricDeferred, metricAside, metricMissing} {
			m.drop(name) // they are the holder's to tell
		}
	}
}

// tellIf tells a gauge, or ends it if it is another worker's to tell.
func (m *metrics) tellIf(ours bool, name string, value float64) {
	if ours {
		m.put(name, value)
		return
	}
	m.drop(name)
}

// standsBy tells whether another worker is at work, as far as is known. The lock is held.
func (m *metrics) standsBy() bool { return m.tenure.state == stateStandby && !m.checked }

// check repeats how the last pass ended. A standby has none, and what it would say is what the holder says otherwise; but
// that it cannot stand by it says.
func (m *metrics) check() {
	m.mu.Lock()
	checked, status := m.checked, m.status
	m.mu.Unlock()
	if m.agent != nil && checked {
		m.agent.check(status)
	}
}

// Close sends what is left.
func (m *metrics) Close() error {
	close(m.stop)
	m.timer.Wait()
	var errs []error
	for _, s := range m.sinks {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
