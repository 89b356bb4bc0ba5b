package main

import (
	"encoding/base64"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/statsd_exporter/pkg/event"
	"github.com/prometheus/statsd_exporter/pkg/line"
	statsdtypes "github.com/prometheus/statsd_exporter/pkg/mapper"

	"github.com/slotsync/slotsync/cmd/mini/world"
	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// understood reads lines as Prometheus' StatsD server does, which is not ours. It leaves out events and service checks,
// which that one does not know.
func understood(t *testing.T, lines []string) []event.Event {
	t.Helper()
	parser := line.NewParser()
	parser.EnableDogstatsdParsing()
	faults := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "faults"}, []string{"reason"})
	counter := func(name string) prometheus.Counter { return prometheus.NewCounter(prometheus.CounterOpts{Name: name}) }
	var all []event.Event
	for _, l := range lines {
		if strings.HasPrefix(l, "_e{") || strings.HasPrefix(l, "_sc|") {
			continue
		}
		events := parser.LineToEvents(l, *faults, counter("samples"), counter("bad_tags"), counter("tags"), quiet())
		if len(events) != 1 {
			t.Errorf("not understood: %q", l)
		}
		all = append(all, events...)
	}
	return all
}

// tokenUntil is a session token that says when it ends.
func tokenUntil(ends time.Time) string {
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	return part(`{"alg":"none"}`) + "." + part(fmt.Sprintf(`{"exp":%d}`, ends.Unix())) + ".c2lnbmVk"
}

// recorded are the lines that arrive from passes through thick and thin.
func recorded(t *testing.T) []string {
	t.Helper()
	w, server := start(t, world.Options{Shifts: 60, Partitions: 2}), receive(t)
	token := tokenUntil(time.Now().Add(time.Hour))
	w.API.SetToken(token)
	host, port, _ := net.SplitHostPort(server.conn.LocalAddr().String())
	settings := env{"WIW_KEY": token, "STATSD_HOST": host, "STATSD_PORT": port, "DD_ENV": "test", "DD_SERVICE": "slotsync"}
	pass := func(want int, more env) {
		t.Helper()
		for name, value := range settings {
			if more[name] == "" {
				more[name] = value
			}
		}
		if _, code, log := once(t, w, more); code != want {
			t.Fatalf("got exit %d, want %d\n%s", code, want, log)
		}
	}
	pass(0, env{})
	due(w)
	now := time.Now()
	for id := range truth(w) {
		shift, _ := w.API.Get(id)
		shift.Notes, shift.UpdatedAt = "changed just now", now.UTC().Truncate(time.Second)
		w.API.Put(shift, wiwtest.Shape2025)
		break
	}
	due(w)
	w.API.PutJSON(5, now, now.Add(time.Hour), `{"id":5,"end_time":"Mon, 01 Oct 2018 15:27:30 +0100"}`)
	pass(0, env{})
	pass(1, env{"WIW_KEY": "another"})
	return server.lines(t, 100)
}

func TestWhatPassesSendIsWhatIsListed(t *testing.T) {
	lines := recorded(t)
	listed := map[string]metric{}
	for _, m := range metricList() {
		listed[strings.ReplaceAll("slot_sync."+m.Name, ".", "_")] = m
	}
	arrived := map[string]map[string]bool{} // metric to the names of its tags
	for _, e := range understood(t, lines) {
		m, is := listed[strings.ReplaceAll(e.MetricName(), ".", "_")]
		if !is {
			t.Errorf("%s is not listed", e.MetricName())
			continue
		}
		if want := map[string]statsdtypes.MetricType{kindCount: statsdtypes.MetricTypeCounter, kindGauge: statsdtypes.MetricTypeGauge, kindSpread: statsdtypes.MetricTypeObserver}[m.Type]; e.MetricType() != want {
			t.Errorf("%s arrives as a %s, want a %s", m.Name, e.MetricType(), want)
		}
		if arrived[m.Name] == nil {
			arrived[m.Name] = map[string]bool{}
		}
		for name, value := range e.Labels() {
			arrived[m.Name][name] = true
			i := slices.IndexFunc(m.Tags, func(t tag) bool { return t.Name == name })
			if common := map[string]string{"env": "test", "service": "slotsync"}[name]; common != "" && value == common {
				continue
			}
			if i < 0 || !slices.Contains(m.Tags[i].Values, value) {
				t.Errorf("%s has the tag %s:%s, which is not listed", m.Name, name, value)
			}
		}
	}
	// What only happens when more goes wrong than here, each of which has a test of its own.
	rare := []string{metricSchemaOnly, metricBuried, metricHeldBack, metricLookedUp, metricGone, metricSwept,
		metricLoginTries, metricLogins, metricUnknownDates, metricPoolTimeouts, metricRetries, metricUnknown, metricLost}
	for _, p := range wanted(t) {
		if arrived[p.metric] == nil {
			if !slices.Contains(rare, p.metric) {
				t.Errorf("%s is asked for and was not sent", p.metric)
			}
			continue
		}
		for name := range p.tags {
			if !arrived[p.metric][name] {
				t.Errorf("%s is asked for by %s and was sent without it", p.metric, name)
			}
		}
	}
	for _, name := range rare {
		// A busy machine may well make a producer try again.
		if arrived[name] != nil && !slices.Contains([]string{metricPoolTimeouts, metricRetries, metricUnknown}, name) {
			t.Errorf("%s is not rare", name)
		}
	}
	checks := slices.DeleteFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "_sc|slot_sync.can_sync|") })
	for _, want := range []string{"_sc|slot_sync.can_sync|0|#env:test,service:slotsync", "_sc|slot_sync.can_sync|2|#env:test,service:slotsync|m:pass failed: api"} {
		if !slices.Contains(checks, want) {
			t.Errorf("got the checks %q, want %q among them", checks, want)
		}
	}
}

// A socket of either kind takes what UDP takes, and the last of it comes with Close.
func TestMetricsReachASocket(t *testing.T) {
	for _, c := range []struct{ scheme, network string }{
		{"unix", "unixgram"}, {"unix", "unix"}, {"unixgram", "unixgram"}, {"unixstream", "unix"},
	} {
		t.Run(c.scheme+" to "+c.network, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "dsd")
			got := make(chan string, 100)
			read := func(conn net.Conn) {
				defer conn.Close()
				for b := make([]byte, 1<<16); ; {
					n, err := conn.Read(b)
					if err != nil {
						return
					}
					got <- string(b[:n])
				}
			}
			if c.network == "unixgram" {
				conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				go read(conn)
			} else {
				l, err := net.Listen("unix", path)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { l.Close() })
				go func() {
					if conn, err := l.Accept(); err == nil {
						read(conn)
					}
				}()
			}
			m := newMetrics(loadOK(t, minimal(env{"DD_DOGSTATSD_URL": c.scheme + "://" + path})), quiet())
			m.reading()
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			var all string
			for late := time.After(10 * time.Second); !strings.Contains(all, "slot_sync.wiw.get:1|c"); {
				select {
				case some := <-got:
					all += some
				case <-late:
					t.Fatalf("got %q", all)
				}
			}
		})
	}
}

// Somebody accepts and never reads; nobody is there; and where somebody was, nobody is any more.
func TestAnAgentThatIsDeadHoldsUpNothing(t *testing.T) {
	deaf := filepath.Join(t.TempDir(), "deaf")
	l, err := net.Listen("unix", deaf)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for claim, at := range map[string]string{
		"it never reads":       "unixstream://" + deaf,
		"its socket is gone":   "unix://" + filepath.Join(t.TempDir(), "nowhere"),
		"nobody listens there": "udp://" + freeAddr(t),
	} {
		t.Run(claim, func(t *testing.T) {
			m := newMetrics(loadOK(t, minimal(env{"DD_DOGSTATSD_URL": at})), quiet())
			began := time.Now()
			for range 20_000 {
				m.request("2xx", time.Second)
				m.batch(shiftsync.Tally{Fetched: 500})
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("measuring took %s", took)
			}
			began = time.Now()
			if err := m.Close(); err != nil {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the end took %s", took)
			}
		})
	}
}

func TestTheLagOfABatchIsAFewPoints(t *testing.T) {
	m, r := recording(t)
	now := time.Now()
	var records []shiftsync.Record
	var outcomes []shiftsync.Outcome
	for i := range 500 {
		records = append(records, shiftsync.Record{Value: []byte{1}, Version: shiftsync.Version{UpdatedAt: now.Add(-time.Minute)}})
		outcomes = append(outcomes, shiftsync.Outcome{Fate: []shiftsync.Fate{shiftsync.Acknowledged, shiftsync.Unknown}[i%2]})
	}
	records[0].UpdatedAt = now.Add(time.Hour)                                                   // by a clock that is ahead of ours
	tombstone := shiftsync.Record{Version: shiftsync.Version{UpdatedAt: now.Add(-time.Minute)}} // of a change that is not the deletion
	m.outcomes([]shiftsync.Record{tombstone}, []shiftsync.Outcome{{Fate: shiftsync.Acknowledged}}, now)
	if got := r.values[metricLag]; len(got) != 0 {
		t.Errorf("a tombstone: got %v", got)
	}
	m.outcomes(records, outcomes, now)
	got := r.values[metricLag]
	if len(got) == 0 || len(got) > lagPoints || got[0] != 0 || got[1] != 60 {
		t.Errorf("got %v", got)
	}
	if n := r.sums[metricRecords]; n != 501 {
		t.Errorf("counted %d records", n)
	}
}

func TestWhatIsOldIsNotLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := recording(t)
		lags := func(ages ...time.Duration) []float64 {
			r.values[metricLag] = nil
			for _, age := range ages {
				record := shiftsync.Record{Value: []byte{1}, Version: shiftsync.Version{UpdatedAt: time.Now().Add(-age)}}
				m.outcomes([]shiftsync.Record{record}, []shiftsync.Outcome{{Fate: shiftsync.Acknowledged}}, time.Now())
			}
			return r.values[metricLag]
		}
		if got := lags(time.Hour, 25*time.Hour); !slices.Equal(got, []float64{3600}) {
			t.Errorf("a first pass: got %v, want what changed within a day", got)
		}
		m.reading()
		m.done(shiftsync.Report{Pass: "p1"}, resultOK, nil)
		if got := lags(30*time.Second, 2*time.Minute); !slices.Equal(got, []float64{30}) {
			t.Errorf("the API's clock may be behind ours: got %v, want also what changed half a minute before the pass", got)
		}
		<-time.After(10 * time.Minute)
		m.reading()
		m.done(shiftsync.Report{Pass: "p2"}, resultPending, shiftsync.ErrPending)
		if got := lags(9*time.Minute, time.Hour); !slices.Equal(got, []float64{540}) {
			t.Errorf("after a pass in step, and one that was not: got %v, want what changed since the first", got)
		}
	})
}
