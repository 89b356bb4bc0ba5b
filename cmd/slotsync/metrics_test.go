package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/DataDog/datadog-go/v5/statsd"
	"github.com/redis/go-redis/v9"

	"github.com/slotsync/slotsync/cache"
	"github.com/slotsync/slotsync/publish"
	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// receiver is a StatsD server that only listens.
type receiver struct {
	conn net.PacketConn
}

func receive(t *testing.T) *receiver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &receiver{conn}
}

// env are the settings that lead to the receiver.
func (r *receiver) env(more env) env {
	host, port, _ := net.SplitHostPort(r.conn.LocalAddr().String())
	all := minimal(env{"STATSD_HOST": host, "STATSD_PORT": port})
	maps.Copy(all, more)
	return all
}

// lines returns the first n lines that arrive, sorted, and what lies behind them.
func (r *receiver) lines(t *testing.T, n int) []string {
	t.Helper()
	var lines []string
	packet := make([]byte, 1<<16)
	for wait := 10 * time.Second; ; {
		if len(lines) >= n {
			wait = 50 * time.Millisecond // on loopback all that was sent is here
		}
		r.conn.SetReadDeadline(time.Now().Add(wait))
		size, _, err := r.conn.ReadFrom(packet)
		if err != nil {
			slices.Sort(lines)
			return lines
		}
		lines = append(lines, strings.Split(strings.TrimSuffix(string(packet[:size]), "\n"), "\n")...)
	}
}

func TestOldMetricsArriveAsSlotSyncSentThem(t *testing.T) {
	t.Setenv("DD_EXTERNAL_ENV", "it-false") // a field beyond those that slot_sync sent, if it were let through
	server := receive(t)
	m := newMetrics(loadOK(t, server.env(nil)), quiet())
	m.starting()
	m.reading()
	m.batch(shiftsync.Tally{Unchanged: 490, Changed: 9, Encoded: 8, Unencodable: 1})
	m.batch(shiftsync.Tally{Unchanged: 10})
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		fmt.Sprintf("_e{21,%d}:slot_sync is starting|node: %s|#application_start", len("node: ")+len(host), host),
		"slot_sync.processor.shift.matched:500|c",
		"slot_sync.processor.shift.unmatched:9|c",
		"slot_sync.publisher.encoding.error:1|c",
		"slot_sync.publisher.encoding.success:8|c",
		"slot_sync.wiw.get:1|c",
	}
	got := server.lines(t, len(want))
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestNamespaceAndTagsAreThoseOfTheSettings(t *testing.T) {
	server := receive(t)
	m := newMetrics(loadOK(t, server.env(env{
		"METRICS_NAMESPACE": "shifts.leeds", "DD_ENV": "prod", "DD_SERVICE": "sync", "DD_VERSION": "1.2",
	})), quiet())
	m.reading()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	got, want := server.lines(t, 1), []string{"shifts.leeds.wiw.get:1|c|#env:prod,service:sync,version:1.2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// wire is a connection that keeps what is written to it.
type wire struct {
	mu   sync.Mutex // guards sent
	sent bytes.Buffer
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent.Write(p)
}

func (w *wire) Close() error { return nil }

func TestTheClientHasNoMetricsOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wire
		client, err := statsd.NewWithWriter(&w, statsdOptions(loadOK(t, minimal(nil)))...)
		if err != nil {
			t.Fatal(err)
		}
		client.Count(metricGet, 1, nil, 1)
		<-time.After(time.Minute)
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		if got, want := w.sent.String(), "slot_sync.wiw.get:1|c\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestMetricsWithoutAServerAreOff(t *testing.T) {
	for _, c := range []struct {
		claim string
		env   env
		level string
		text  string
	}{
		{"no host is a line", nil, "INFO", "metrics are off"},
		{"a host that is not found is a warning", env{"STATSD_HOST": "no-such-host.invalid"}, "WARN", "metrics are not sent yet"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			var log bytes.Buffer
			m := newMetrics(loadOK(t, minimal(c.env)), slog.New(slog.NewTextHandler(&log, nil)))
			m.starting()
			m.reading()
			m.done(shiftsync.Report{Pass: "p1"}, resultOK, nil)
			if err := m.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			if got := strings.Count(log.String(), c.text); got != 1 || !strings.Contains(log.String(), "level="+c.level) {
				t.Errorf("got log %q, want one line at %s", &log, c.level)
			}
		})
	}
}

// recorder is a StatsD client that keeps the points it is given.
type recorder struct {
	mu     sync.Mutex // guards all below
	sums   map[string]int64
	gauges map[string]float64
	values map[string][]float64 // of distributions
	checks []statsd.ServiceCheck
	events []statsd.Event
	lines  []string // kind, name and tags of all
	closed bool
}

func newRecorder() *recorder {
	return &recorder{sums: map[string]int64{}, gauges: map[string]float64{}, values: map[string][]float64{}}
}

func (r *recorder) note(kind, name string, tags []string) {
	r.lines = append(r.lines, strings.TrimSpace(kind+" "+name+" "+strings.Join(tags, ",")))
}

func (r *recorder) Count(name string, n int64, tags []string, _ float64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sums[name] += n
	r.note("count", name, tags)
	return nil
}

func (r *recorder) Gauge(name string, value float64, tags []string, _ float64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gauges[name] = value
	r.note("gauge", name, tags)
	return nil
}

func (r *recorder) Distribution(name string, value float64, tags []string, _ float64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[name] = append(r.values[name], value)
	r.note("distribution", name, tags)
	return nil
}

func (r *recorder) Event(e *statsd.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, *e)
	return nil
}

func (r *recorder) ServiceCheck(c *statsd.ServiceCheck) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks = append(r.checks, *c)
	return nil
}

func (r *recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return nil
}

func (r *recorder) gauge(name string) (float64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	value, ok := r.gauges[name]
	return value, ok
}

// recording returns metrics that go to a recorder.
func recording(t *testing.T) (*metrics, *recorder) {
	t.Helper()
	r := newRecorder()
	m := (&metrics{agent: newDogStatsD(r, "slot_sync"), limit: 100}).start()
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if !r.closed {
			t.Error("the client was not closed")
		}
	})
	return m, r
}

func TestAHungPassShowsItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := recording(t)
		want := func(claim string, seconds float64) {
			t.Helper()
			synctest.Wait()
			if got, _ := r.gauge(metricPassAge); got != seconds {
				t.Errorf("%s: got age %v, want %v", claim, got, seconds)
			}
		}
		after := func(d time.Duration) { <-time.After(d) }

		after(longestStart - time.Second)
		synctest.Wait()
		if age, told := r.gauge(metricPassAge); told {
			t.Errorf("a worker that knows nothing told of an age, %v s", age)
		}
		after(6 * time.Second)
		want("a start that hangs", longestStart.Seconds())
		m.enters(tenure{state: stateActive})
		m.done(shiftsync.Report{Pass: "p1"}, resultOK, nil)
		want("a good pass", 0)
		after(60 * time.Second)
		want("a pass that hangs", 55) // the timer ticks every 10 s; the good pass was 5 s after a tick
		m.done(shiftsync.Report{Pass: "p1"}, resultFailed, errRedis)
		want("a failed pass", 60)
		m.done(shiftsync.Report{Pass: "p1"}, resultPending, shiftsync.ErrPending)
		want("a pass that left something pending", 60)
		m.done(shiftsync.Report{Pass: "p1"}, resultOK, nil)
		want("the next good pass", 0)
	})
}

// Whoever asks for the lease is told how long ago the topic was in step, so that a restart, or a holder that is dead, does
// not make an outage look young.
func TestTheAgeIsTheTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := recording(t)
		want := func(claim, state string, found shiftsync.Standing, age, active float64) {
			t.Helper()
			m.enters(tenure{state, found})
			if got, told := r.gauge(metricPassAge); told != (age >= 0) || told && got != age {
				t.Errorf("%s: got age %v, %v, want %v", claim, got, told, age)
			}
			if got, told := r.gauge(metricActive); !told || got != active {
				t.Errorf("%s: got active %v, %v, want %v", claim, got, told, active)
			}
		}
		ago := func(d time.Duration) shiftsync.Standing { return shiftsync.Standing{InStep: time.Now().Add(-d)} }
		want("a holder of an older release", stateStandby, shiftsync.Standing{Holder: "other"}, -1, 0)
		<-time.After(time.Hour)
		want("the same for an hour", stateStandby, shiftsync.Standing{Holder: "other"}, -1, 0)
		want("the holder does nothing", stateStandby, ago(20*time.Minute), 1200, 0)
		want("the lease after it", stateActive, ago(20*time.Minute), 1200, 1)
		want("the lease is lost", stateStarting, shiftsync.Standing{}, 1200, 0)
		want("another one has it, and works", stateStandby, ago(0), 0, 0)
	})
}

// A monitor counts on it: what failed once, however long ago, is no row of failures.
func TestFailedPassesInARowAreCounted(t *testing.T) {
	m, r := recording(t)
	want := func(claim string, failures float64) {
		t.Helper()
		if got, told := r.gauge(metricFailures); !told || got != failures {
			t.Errorf("%s: got %v, %v, want %v", claim, got, told, failures)
		}
	}
	pass := shiftsync.Report{Pass: "p1"}
	m.enters(tenure{state: stateActive})
	want("none has ended", 0)
	m.done(shiftsync.Report{}, resultFailed, errRedis)
	m.done(pass, resultFailed, errRedis)
	want("one that could not begin, and one that failed", 2)
	m.tell()
	m.check()
	want("told again", 2)
	m.done(pass, resultPending, shiftsync.ErrPending)
	want("one that decided everything", 0)
	m.done(pass, resultFailed, errRedis)
	m.enters(tenure{state: stateStandby})
	m.enters(tenure{state: stateActive})
	want("a new tenure", 0)
}

func TestAStandbyLeavesTheCheckToTheHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := recording(t)
		want := func(claim string, levels ...statusLevel) {
			t.Helper()
			<-time.After(everyGauge)
			synctest.Wait()
			var got []statusLevel
			for _, c := range r.checks {
				got = append(got, c.Status)
			}
			r.checks = nil
			if !slices.Equal(got, levels) {
				t.Errorf("%s: got %v, want %v", claim, got, levels)
			}
		}
		want("nothing is known")
		m.enters(tenure{state: stateActive})
		m.done(shiftsync.Report{Pass: "p1"}, resultFailed, errRedis)
		want("a failed pass, at once and again", statusCritical, statusCritical)
		m.enters(tenure{state: stateStandby})
		want("standing by")
		m.done(shiftsync.Report{}, resultFailed, errRedis)
		want("it cannot stand by", statusCritical, statusCritical)
		if got, told := r.gauge(metricFailures); !told || got != 1 {
			t.Errorf("it cannot stand by: got %v failures, %v, want 1", got, told)
		}
		m.enters(tenure{state: stateStandby})
		want("standing by again")
	})
}

func TestTroubleKeepsItsAgeWhenTheLeaseIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := recording(t)
		found := shiftsync.Standing{InStep: time.Now()}
		m.enters(tenure{stateActive, found})
		<-time.After(time.Hour)
		m.enters(tenure{state: stateStarting}) // Redis is away
		<-time.After(time.Hour)
		synctest.Wait()
		if age, _ := r.gauge(metricPassAge); age != 7200 {
			t.Errorf("nobody has the lease: got age %v, want 7200", age)
		}
		if active, _ := r.gauge(metricActive); active != 0 {
			t.Errorf("nobody has the lease: got active %v", active)
		}
		m.enters(tenure{stateActive, found})
		if age, _ := r.gauge(metricPassAge); age != 7200 {
			t.Errorf("the same worker has it again and nothing was done: got age %v, want 7200", age)
		}
	})
}

// Each metric is sent with each value of its tags, so what is sent and what is listed can be compared.
func TestTheListOfMetricsIsComplete(t *testing.T) {
	m, r := recording(t)
	m.enters(tenure{state: stateStandby})
	m.enters(tenure{state: stateActive})
	m.reading()
	m.request("2xx", time.Second)
	m.remaining(59)
	m.tokenLeft(time.Hour)
	m.loginTried()
	m.loggedIn()
	m.unknownDate()
	all := shiftsync.Tally{}
	for v, i := reflect.ValueOf(&all).Elem(), 0; i < v.NumField(); i++ {
		v.Field(i).SetInt(1)
	}
	m.batch(all)
	m.took()
	m.lost()
	for _, step := range steps() {
		m.step(step, time.Second, errRedis)
	}
	m.pool(1, 2, 3, 4)
	m.produced(publish.Figures{Batches: 1, Retries: 1, Unknown: 1, Epochs: 1, Bytes: 1})
	records := make([]shiftsync.Record, 4)
	records[3] = shiftsync.Record{Value: []byte{0}, Version: shiftsync.Version{UpdatedAt: time.Now()}}
	m.outcomes(records, []shiftsync.Outcome{{Fate: shiftsync.Unknown}, {Fate: shiftsync.Unsent}, {Fate: shiftsync.Refused}, {Fate: shiftsync.Acknowledged}}, time.Now())
	for _, class := range []string{"2xx", "3xx", "4xx", "5xx", wiw.ClassNoShift, "error"} {
		m.request(class, time.Second)
	}
	errs := troubles()
	for _, reason := range causes() {
		err, known := errs[reason]
		if !known {
			t.Errorf("no error is known that has the reason %s", reason)
		}
		m.done(shiftsync.Report{}, resultFailed, fmt.Errorf("pass: %w", err))
	}
	for _, result := range []string{resultOK, resultPending, resultFailed} {
		m.done(shiftsync.Report{Pass: "p1", Called: true, Swept: 1}, result, shiftsync.ErrPending)
	}

	sent := map[string]bool{}
	for _, line := range r.lines {
		sent[line] = true
	}
	listed := map[string]bool{}
	for _, x := range metricList() {
		if x.Unit == "" || x.Meaning == "" {
			t.Errorf("%s lacks a unit or a meaning", x.Name)
		}
		for _, values := range series(x.Tags) {
			listed[strings.TrimSpace(x.Type+" "+x.Name+" "+strings.Join(tagged(&x, values), ","))] = true
		}
	}
	if !maps.Equal(sent, listed) {
		for line := range sent {
			if !listed[line] {
				t.Errorf("%s is sent and not listed", line)
			}
		}
		for line := range listed {
			if !sent[line] {
				t.Errorf("%s is listed and not sent", line)
			}
		}
	}
}

func TestDatesInUnknownFormsAreCounted(t *testing.T) {
	m, r := recording(t)
	cfg := loadOK(t, minimal(nil))
	source, err := newSource(cfg, quiet(), newObserver(cfg, quiet(), m, newScreen(io.Discard)))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	for range 3 {
		raw := `{"id":5,"start_time":1537961098,"end_time":1537961098,"created_at":"in spring"}`
		if err := source.Parse([]byte(raw), new(shiftsync.Shift)); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.sums[metricUnknownDates]; got != 3 {
		t.Errorf("got %d, want 3: each time", got)
	}
}

// A container's neighbours get their names when they start, and may start after it.
func TestAnAgentThatIsFoundLateGetsWhatComesThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, asked := newRecorder(), 0
		var log bytes.Buffer
		late := newLateStats(func(context.Context) (stats, error) {
			if asked++; asked < 3 {
				return nil, errors.New("no such host")
			}
			return agent, nil
		}, slog.New(slog.NewTextHandler(&log, nil)))
		m := (&metrics{agent: newDogStatsD(late, "slot_sync")}).start()
		m.starting()
		m.reading()
		<-time.After(3*searchEvery + time.Second)
		synctest.Wait()
		m.reading()
		m.done(shiftsync.Report{Pass: "p1"}, resultOK, nil)
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if asked != 3 || agent.sums[metricGet] != 1 || len(agent.values[metricPassDuration]) != 1 || len(agent.checks) != 1 || !agent.closed {
			t.Errorf("asked %d times, and got %+v", asked, agent)
		}
		if len(agent.events) != 1 || agent.events[0].Title != startingEvent {
			t.Errorf("got the events %+v, want that of the start", agent.events)
		}
		if strings.Count(log.String(), "metrics are sent from now on") != 1 {
			t.Errorf("got the log %s", &log)
		}
	})
}

func TestTheSearchForAnAgentEndsWithTheWorker(t *testing.T) {
	late := newLateStats(func(ctx context.Context) (stats, error) { return nil, ctx.Err() }, quiet())
	if err := late.Close(); err != nil {
		t.Error(err)
	}
}

// A cluster's client asks its nodes, for as long as they are deaf.
func TestASamplerThatHangsHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := recording(t)
		read, release := 0, make(chan struct{})
		end := m.sampling(func() {
			read++
			<-release
		})
		m.done(shiftsync.Report{Pass: "p1"}, resultOK, nil) // has it read
		for tick := range 5 {
			<-time.After(everyGauge)
			synctest.Wait()
			if age, _ := r.gauge(metricPassAge); age != float64(tick+1)*10 {
				t.Errorf("got the age %v, want %d", age, (tick+1)*10)
			}
		}
		close(release)
		<-time.After(everyGauge)
		synctest.Wait()
		before := read
		end()
		<-time.After(everyGauge)
		synctest.Wait()
		if before < 2 || read != before+1 {
			t.Errorf("read %d times, and %d with the end, want one more and no other", before, read)
		}
	})
}

// aPool is a client of Redis that has figures and nothing else.
type aPool struct {
	cache.Client
	stats redis.PoolStats
	asked int
}

func (p *aPool) PoolStats() *redis.PoolStats {
	p.asked++
	now := p.stats
	return &now
}

func TestThePoolsFiguresAreDifferences(t *testing.T) {
	m, r := recording(t)
	kafka, err := newKafka(loadOK(t, minimal(nil)), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()
	pool, needs := &aPool{}, newDependencies()
	read := (&outside{kafka: kafka, redis: pool}).sampler(needs, m)
	for _, step := range []struct {
		claim           string
		redis           error
		timeouts, miss  uint32
		sumTime, sumMis int64
		asked           int
	}{
		{"Redis has not answered yet", nil, 9, 9, 0, 0, 0},
		{"at first", nil, 1, 5, 1, 5, 1},
		{"some more", nil, 3, 6, 3, 6, 2},
		{"nothing more", nil, 3, 6, 3, 6, 3},
		{"a node has left a cluster", nil, 1, 2, 4, 8, 4},
		{"some more after it", nil, 2, 4, 5, 10, 5},
		{"Redis is away", errRedis, 5, 5, 5, 10, 5},
	} {
		if step.claim != "Redis has not answered yet" {
			needs.note(causeRedis, step.redis)
		}
		pool.stats = redis.PoolStats{Timeouts: step.timeouts, Misses: step.miss}
		read()
		if got, want := [3]int64{r.sums[metricPoolTimeouts], r.sums[metricPoolMisses], int64(pool.asked)}, [3]int64{step.sumTime, step.sumMis, int64(step.asked)}; got != want {
			t.Errorf("%s: got %v timeouts, misses and questions, want %v", step.claim, got, want)
		}
	}
}

// Points of the same name and tags that two workers send to one agent overwrite each other there.
func TestAHolderAndItsStandbyAreTwoSeries(t *testing.T) {
	active := func(r *recorder) (lines []string) {
		for _, line := range r.lines {
			if strings.HasPrefix(line, "gauge "+metricActive) {
				lines = append(lines, line)
			}
		}
		return lines
	}
	holder, sentByHolder := recording(t)
	standby, sentByStandby := recording(t)
	holder.enters(tenure{state: stateActive})
	standby.enters(tenure{state: stateStandby})
	if got, want := active(sentByHolder), []string{"gauge worker.active role:holder"}; !slices.Equal(got, want) {
		t.Errorf("the holder: got %q, want %q", got, want)
	}
	if got, want := active(sentByStandby), []string{"gauge worker.active role:waiting"}; !slices.Equal(got, want) {
		t.Errorf("the standby: got %q, want %q", got, want)
	}

	m := (&metrics{page: newPromPage(quiet())}).start()
	defer m.Close()
	for _, c := range []struct {
		state string
		want  string
	}{
		{stateActive, `slotsync_worker_active{role="holder"} 1`},
		{stateStandby, `slotsync_worker_active{role="waiting"} 0`},
		{stateActive, `slotsync_worker_active{role="holder"} 1`},
		{stateStarting, `slotsync_worker_active{role="waiting"} 0`},
	} {
		m.enters(tenure{state: c.state})
		rec := httptest.NewRecorder()
		m.page.handler.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
		var got []string
		for line := range strings.Lines(rec.Body.String()) {
			if strings.HasPrefix(line, "slotsync_worker_active") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		if !slices.Equal(got, []string{c.want}) {
			t.Errorf("got %q, want %q alone", got, c.want)
		}
	}
}

// A pass that fails in the middle has seen a part of what is bad.
func TestBadShiftsAreToldByPassesThatReadTheWindow(t *testing.T) {
	m, r := recording(t)
	rep := shiftsync.Report{Pass: "p1", Tally: shiftsync.Tally{Fetched: 100, SetAside: 3, StillAside: 4}}
	cut := shiftsync.Report{Pass: "p2", Tally: shiftsync.Tally{Fetched: 10, SetAside: 1}}
	for _, c := range []struct {
		rep    shiftsync.Report
		result string
		err    error
		want   float64
	}{
		{cut, resultFailed, errRedis, 0},
		{rep, resultOK, nil, 7},
		{cut, resultFailed, errRedis, 7},
		{cut, resultPending, shiftsync.ErrPending, 1},
		{rep, resultFailed, shiftsync.ErrTooManyBad, 7},
		{cut, resultFailed, shiftsync.ErrPendingLimit, 1},
		{shiftsync.Report{Pass: "p3"}, resultFailed, shiftsync.ErrTooManyBad, 1},
	} {
		m.done(c.rep, c.result, c.err)
		if got, _ := r.gauge(metricAside); got != c.want {
			t.Errorf("after a pass that ended %s, %v: got %v, want %v", c.result, c.err, got, c.want)
		}
	}
}

// What was published before, or is sent for another reason than a change, does not lag.
func TestTheLagIsThatOfChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := recording(t)
		<-time.After(48 * time.Hour)
		m.reading()
		reads := time.Now()
		<-time.After(10 * time.Second)
		m.done(shiftsync.Report{Pass: "p1"}, resultOK, nil)
		<-time.After(10 * time.Second)
		acknowledged := []shiftsync.Outcome{{Fate: shiftsync.Acknowledged}}
		for _, c := range []struct {
			claim   string
			changed time.Time
			value   []byte
			fate    shiftsync.Fate
			want    []float64
		}{
			{"changed after the last good pass began to read", reads.Add(5 * time.Second), []byte("x"), shiftsync.Acknowledged, []float64{15}},
			{"changed before it, by a clock that is behind", reads.Add(-59 * time.Second), []byte("x"), shiftsync.Acknowledged, []float64{79}},
			{"changed before it", reads.Add(-61 * time.Second), []byte("x"), shiftsync.Acknowledged, nil},
			{"changed by a clock that is ahead", reads.Add(time.Hour), []byte("x"), shiftsync.Acknowledged, []float64{0}},
			{"deleted, nobody knows when", reads.Add(5 * time.Second), nil, shiftsync.Acknowledged, nil},
			{"not acknowledged", reads.Add(5 * time.Second), []byte("x"), shiftsync.Unknown, nil},
		} {
			r.values[metricLag] = nil
			acknowledged[0].Fate = c.fate
			record := shiftsync.Record{Value: c.value, Version: shiftsync.Version{UpdatedAt: c.changed}}
			m.outcomes([]shiftsync.Record{record}, acknowledged, time.Now())
			if got := r.values[metricLag]; !slices.Equal(got, c.want) {
				t.Errorf("%s: got %v, want %v", c.claim, got, c.want)
			}
		}
	})
}

// A single pass ends before the first tick, and its last figures come with its end.
func TestWhatOthersCountIsReadAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := recording(t)
		reads := 0
		end := m.sampling(func() { reads++ })
		m.done(shiftsync.Report{Pass: "p1"}, resultOK, nil)
		synctest.Wait()
		if reads != 1 {
			t.Errorf("got %d reads after a pass, want 1", reads)
		}
		end()
		m.sample()
		if reads != 2 {
			t.Errorf("got %d reads at the end and after it, want 2", reads)
		}
	})
}
