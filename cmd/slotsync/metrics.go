package main

import (
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/DataDog/datadog-go/v5/statsd"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Names of metrics. Those of slot_sync stand first; its dashboards hang on them.
const (
	metricGet          = "wiw.get"
	metricMatched      = "processor.shift.matched"
	metricUnmatched    = "processor.shift.unmatched"
	metricEncoded      = "publisher.encoding.success"
	metricUnencodable  = "publisher.encoding.error"
	metricPassDuration = "pass.duration"
	metricPassAge      = "pass.age"
	metricFetched      = "shifts.fetched"
	metricPublished    = "shifts.published"
	metricSetAside     = "shifts.set_aside"
	metricPending      = "shifts.pending"
	metricBuried       = "dead_letters.published"
	metricUnburied     = "dead_letters.pending"
	metricHeldBack     = "shifts.held_back"
	metricMissing      = "shifts.missing"
	metricLookedUp     = "shifts.looked_up"
	metricGone         = "shifts.gone"
	metricRequest      = "wiw.request.duration"
	metricLimit        = "wiw.limit.remaining"
	metricToken        = "wiw.token.remaining"
	metricUnknownDates = "wiw.dates.unknown"
	metricActive       = "worker.active"
	startingEvent      = "slot_sync is starting"
	startingEventTag   = "application_start"
	everyGauge         = 10 * time.Second
)

// metric describes a metric for those who draw it.
type metric struct {
	Name    string // without the namespace
	Type    string // count, gauge or timing
	Unit    string
	Tags    string // with their values; empty: none
	Meaning string
}

// metricList returns all metrics, of which the README has a table.
func metricList() []metric {
	const result = "result: ok, pending or failed"
	return []metric{
		{metricGet, "count", "passes", "", "passes that are about to ask the API"},
		{metricMatched, "count", "shifts", "", "shifts that had not changed"},
		{metricUnmatched, "count", "shifts", "", "shifts that are new or had changed"},
		{metricEncoded, "count", "shifts", "", "shifts that were made records"},
		{metricUnencodable, "count", "shifts", "", "shifts that could not be made records"},
		{metricPassDuration, "timing", "ms", result, "how long a pass took"},
		{metricPassAge, "gauge", "seconds", "", "time since the topic was last in step, sent every 10 s even if a pass hangs; a standby sends none"},
		{metricFetched, "count", "shifts", "", "shifts that the API told of"},
		{metricPublished, "count", "shifts", "", "shifts that the broker acknowledged"},
		{metricSetAside, "count", "shifts", "", "bad versions of shifts, each counted once"},
		{metricPending, "gauge", "shifts", "", "shifts waiting for their acknowledgement after a pass"},
		{metricBuried, "count", "letters", "", "bad versions of shifts that `DLQ_TOPIC` acknowledged; a lost answer repeats one"},
		{metricUnburied, "gauge", "letters", "", "bad shifts whose dead letter was not acknowledged in a pass"},
		{metricHeldBack, "count", "shifts", "", "versions older than a known one, held back until another pass sees them too"},
		{metricMissing, "gauge", "shifts", "", "shifts that should be in the window and were not, after a pass that looked; without those known to be unlisted or deleted"},
		{metricLookedUp, "count", "shifts", "", "missing shifts that were asked for one by one"},
		{metricGone, "count", "shifts", "", "shifts that were found to be deleted"},
		{metricRequest, "timing", "ms", "status_class: 2xx, 3xx, 4xx, 5xx or error, for no answer", "how long the API took to answer a request"},
		{metricLimit, "gauge", "requests", "", "what is left of the API's rate limit, where it tells"},
		{metricToken, "gauge", "seconds", "", "until the session token ends, below 0 when it has; none if the token does not say"},
		{metricUnknownDates, "count", "dates", "", "dates in a form that is not known, read as no date"},
		{metricActive, "gauge", "workers", "", "1 if this worker holds the lease, 0 if it stands by"},
	}
}

// stats is what is used of a StatsD client. None of its calls waits for the network.
type stats interface {
	Count(name string, n int64, tags []string, rate float64) error
	Gauge(name string, value float64, tags []string, rate float64) error
	Timing(name string, took time.Duration, tags []string, rate float64) error
	Event(e *statsd.Event) error
	Close() error
}

// metrics sends what is measured. A point that is lost is lost: errors of single calls are not looked at.
type metrics struct {
	client stats
	stop   chan struct{}
	timer  sync.WaitGroup

	mu     sync.Mutex // guards all below
	told   bool       // something is known of the lease
	active bool       // this worker holds it
	other  bool       // another worker holds it
	inStep time.Time  // when a pass last left nothing undone; at first, when there began to be something to do
}

// newMetrics connects to where the settings say. Without such a place, or if it is not found, metrics are off, which
// is logged.
func newMetrics(cfg *config, log *slog.Logger) *metrics {
	return startMetrics(dial(cfg, log))
}

func startMetrics(client stats) *metrics {
	m := &metrics{client: client, stop: make(chan struct{}), inStep: time.Now()}
	m.timer.Go(m.keepTelling)
	return m
}

func dial(cfg *config, log *slog.Logger) stats {
	addr := cfg.statsdAddr()
	if addr == "" {
		log.Info("metrics are off: there is no STATSD_HOST")
		return noMetrics()
	}
	client, err := statsd.New(addr, statsdOptions(cfg)...)
	if err != nil {
		log.Warn("metrics are off", "err", err)
		return noMetrics()
	}
	return client
}

// noMetrics is where metrics go that nobody wants.
func noMetrics() stats { return &statsd.NoOpClient{} }

func statsdOptions(cfg *config) []statsd.Option {
	var tags []string
	for _, tag := range []struct{ name, value string }{
		{"env", cfg.Metrics.Env}, {"service", cfg.Metrics.Service}, {"version", cfg.Metrics.Version},
	} {
		if tag.value != "" {
			tags = append(tags, tag.name+":"+tag.value)
		}
	}
	return []statsd.Option{
		statsd.WithNamespace(cfg.Metrics.Namespace),
		statsd.WithTags(tags),
		statsd.WithoutTelemetry(),       // the client's own metrics
		statsd.WithoutOriginDetection(), // a field that plain StatsD servers do not know
	}
}

// starting sends the event that slot_sync sent when it started.
func (m *metrics) starting() {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	m.client.Event(&statsd.Event{Title: startingEvent, Text: "node: " + host, Tags: []string{startingEventTag}})
}

// holds notes who has the lease: this worker, another one or, as far as is known, nobody.
func (m *metrics) holds(active, other bool) {
	m.mu.Lock()
	if active && m.other {
		m.inStep = time.Now() // until now the work was another worker's
	}
	m.told, m.active, m.other = true, active, other
	m.mu.Unlock()
	m.tell()
}

func (m *metrics) reading() { m.count(metricGet, 1) }

func (m *metrics) batch(t shiftsync.Tally) {
	m.count(metricMatched, t.Unchanged)
	m.count(metricUnmatched, t.Changed)
	m.count(metricEncoded, t.Encoded)
	m.count(metricUnencodable, t.Unencodable)
	m.count(metricFetched, t.Fetched)
	m.count(metricPublished, t.Published)
	m.count(metricSetAside, t.SetAside)
	m.count(metricBuried, t.Buried)
	m.count(metricHeldBack, t.HeldBack)
	m.count(metricLookedUp, t.LookedUp)
	m.count(metricGone, t.Gone)
}

func (m *metrics) count(name string, n int) {
	if n > 0 {
		m.client.Count(name, int64(n), nil, 1)
	}
}

// done notes the end of a pass; result is ok, pending or failed.
func (m *metrics) done(rep shiftsync.Report, result string) {
	if result == resultOK {
		m.mu.Lock()
		m.inStep = time.Now()
		m.mu.Unlock()
	}
	m.client.Timing(metricPassDuration, rep.Took, []string{"result:" + result}, 1)
	m.client.Gauge(metricPending, float64(rep.Pending), nil, 1)
	m.client.Gauge(metricUnburied, float64(rep.Unburied), nil, 1)
	if rep.Called {
		m.client.Gauge(metricMissing, float64(rep.Missing), nil, 1)
	}
	m.tell()
}

// request measures one attempt to get an answer of the API.
func (m *metrics) request(class string, took time.Duration) {
	m.client.Timing(metricRequest, took, []string{"status_class:" + class}, 1)
}

// remaining notes how many requests the API says are left.
func (m *metrics) remaining(n int) { m.client.Gauge(metricLimit, float64(n), nil, 1) }

// tokenLeft notes how long the session token still lasts.
func (m *metrics) tokenLeft(left time.Duration) {
	m.client.Gauge(metricToken, left.Seconds(), nil, 1)
}

// unknownDate counts a date that could not be read.
func (m *metrics) unknownDate() { m.count(metricUnknownDates, 1) }

// keepTelling repeats the gauges that must not stand still when a pass does.
func (m *metrics) keepTelling() {
	ticker := time.NewTicker(everyGauge)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.tell()
		case <-m.stop:
			return
		}
	}
}

func (m *metrics) tell() {
	m.mu.Lock()
	told, active, other, age := m.told, m.active, m.other, time.Since(m.inStep)
	m.mu.Unlock()
	if told {
		value := 0.0
		if active {
			value = 1
		}
		m.client.Gauge(metricActive, value, nil, 1)
	}
	// When nobody is known to have the lease the age is told too: a start that hangs must be seen, and so must a
	// Redis that is away.
	if !other {
		m.client.Gauge(metricPassAge, age.Seconds(), nil, 1)
	}
}

// Close sends what is left.
func (m *metrics) Close() error {
	close(m.stop)
	m.timer.Wait()
	return m.client.Close()
}
