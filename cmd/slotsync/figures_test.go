package main

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/statsd_exporter/pkg/event"
	"github.com/prometheus/statsd_exporter/pkg/exporter"
	"github.com/prometheus/statsd_exporter/pkg/line"
	"github.com/prometheus/statsd_exporter/pkg/listener"
	statsdtypes "github.com/prometheus/statsd_exporter/pkg/mapper"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/publish/publishtest"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// dogStatsDServer is Prometheus' server for DogStatsD, which is not ours. It keeps what it is sent, and shows it at page.
type dogStatsDServer struct {
	addr *net.UDPAddr
	page string // host:port
}

func serveDogStatsD(t *testing.T) *dogStatsDServer {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadBuffer(4 << 20); err != nil { // what is sent at once is not to be lost
		t.Fatal(err)
	}
	count := func(name string) prometheus.Counter { return prometheus.NewCounter(prometheus.CounterOpts{Name: name}) }
	counts := func(name string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name}, labels)
	}
	registry, events := prometheus.NewRegistry(), make(chan event.Events, 1000)
	mapping := &statsdtypes.MetricMapper{Registerer: prometheus.NewRegistry(), Logger: quiet()}
	if err := mapping.InitFromYAMLString("defaults: {summary_options: {max_age: 4s, age_buckets: 2}}"); err != nil {
		t.Fatal(err)
	}
	parser := line.NewParser()
	parser.EnableDogstatsdParsing()
	udp := listener.StatsDUDPListener{
		EventHandler: &event.UnbufferedEventHandler{C: events}, Logger: quiet(), LineParser: parser,
		LinesReceived: count("lines"), SampleErrors: *counts("faults", "reason"), SamplesReceived: count("samples"),
		TagErrors: count("bad_tags"), TagsReceived: count("tags"),
	}
	exporter := exporter.NewExporter(registry, mapping, quiet(), counts("actions", "action"), count("unmapped"), counts("errors", "reason"),
		counts("events", "type"), counts("conflicts", "type"), prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "metrics"}, []string{"type"}))
	page := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	var at sync.WaitGroup
	at.Go(func() {
		defer close(events)
		for packet := make([]byte, 1<<16); ; {
			n, _, err := conn.ReadFromUDP(packet)
			if err != nil {
				return
			}
			udp.HandlePacket(packet[:n])
		}
	})
	at.Go(func() { exporter.Listen(events) })
	t.Cleanup(func() {
		conn.Close()
		at.Wait()
		page.Close()
	})
	return &dogStatsDServer{conn.LocalAddr().(*net.UDPAddr), page.Listener.Addr().String()}
}

// pageOf are the figures of a page in Prometheus' format, by series.
func pageOf(t *testing.T, addr string) map[string]float64 {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	figures := map[string]float64{}
	for line := range strings.Lines(text.String()) {
		series, value, is := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseFloat(value, 64); is && err == nil {
			figures[series] = n
		}
	}
	return figures
}

// compared is a figure as each of the sides has it; "none" if it has none.
type compared struct{ series, sent, served string }

// compare sets beside each other what was sent and what is served, for all that is listed.
func compare(sent, served map[string]float64) (all []compared) {
	row := func(series, theirs, ours string, begins bool) {
		said := func(figures map[string]float64, name string) string {
			n, there := figures[name]
			if !there && !begins {
				return "none"
			}
			return strconv.FormatFloat(n, 'g', 9, 64)
		}
		all = append(all, compared{series, said(sent, theirs), said(served, ours)})
	}
	for _, m := range metricList() {
		theirs, ours := "slot_sync_"+strings.ReplaceAll(m.Name, ".", "_"), promName(&m)
		for _, values := range series(m.Tags) {
			if m.Name == metricActive && values[0] == roleWaiting {
				continue // after a slow start: it ends at /metrics, and is just not sent any more
			}
			label := ""
			if len(values) > 0 {
				label = fmt.Sprintf("{%s=%q}", m.Tags[0].Name, values[0])
			}
			if m.Type == kindSpread {
				row(m.Name+label+" points", theirs+"_count"+label, ours+"_count"+label, true)
				row(m.Name+label+" sum", theirs+"_sum"+label, ours+"_sum"+label, true)
				continue
			}
			row(m.Name+label, theirs+label, ours+label, m.Type == kindCount) // a count begins at zero at /metrics alone
		}
	}
	return all
}

// agree waits until the sides agree on all figures at one moment, and returns them. They are never asked at the same
// time, and what is sent arrives within two seconds.
func agree(t *testing.T, sides func() (sent, served map[string]float64)) (all []compared) {
	t.Helper()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for late := time.After(time.Minute); ; {
		all = compare(sides())
		differ := slices.Collect(func(yield func(compared) bool) {
			for _, c := range all {
				if c.sent != c.served && !yield(c) {
					return
				}
			}
		})
		if slices.Contains(all, compared{metricActive + `{role="holder"}`, "1", "1"}) && len(differ) == 0 {
			return all
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("got %+v, sent and served to be equal", differ)
		}
	}
}

// eventful is a worker that measures for both, after passes in which much has happened. It stands still in the next one,
// which waits for the API.
func eventful(t *testing.T, server *dogStatsDServer) (worker *running, page string) {
	t.Helper()
	w := start(t, world.Options{Shifts: 120, Partitions: 2})
	if err := publishtest.CreateTopic(t.Context(), w.Kafka.Addrs, "letters", 1, nil); err != nil {
		t.Fatal(err)
	}
	token := tokenUntil(time.Now().Add(100 * time.Hour))
	w.API.SetToken(token)
	turns := make(chan wiwtest.Fault)
	w.API.Fail(-1, func(rw http.ResponseWriter, r *http.Request, a *wiwtest.Answer) {
		select {
		case answer := <-turns:
			answer(rw, r, a)
		case <-r.Context().Done():
		}
	})
	worker, page = loopHTTP(t, in(w, env{
		"WIW_KEY": token, "WIW_RATE": "6000", "SYNC_SLEEP_PERIOD_SECONDS": "0", "SYNC_DELETES": "tombstone", "GONE_SHARE": "1", "BAD_SHARE": "0.9",
		"DLQ_TOPIC": "letters", "STATSD_HOST": server.addr.IP.String(), "STATSD_PORT": strconv.Itoa(server.addr.Port), "WIW_TIMEOUT": "5m",
	}))
	truly := func(rw http.ResponseWriter, _ *http.Request, a *wiwtest.Answer) { a.Write(rw) }
	turn := func(answer wiwtest.Fault) {
		t.Helper()
		select {
		case turns <- answer:
		case <-worker.ended:
			t.Fatalf("it has ended:\n%s", worker)
		}
	}
	turn(truly)
	turn(truly)
	worker.until(t, good, 2) // and nothing is at work in the world
	ids, now := slices.Sorted(maps.Keys(truth(w))), time.Now()
	for _, id := range ids[10:30] {
		shift, _ := w.API.Get(id)
		shift.Notes, shift.UpdatedAt = "changed just now", now.UTC()
		w.API.Put(shift, wiwtest.Shape2025)
	}
	w.API.Delete(ids[0])
	w.API.PutJSON(5, now, now.Add(time.Hour), `{"id":5,"end_time":"Mon, 01 Oct 2018 15:27:30 +0100"}`)
	w.API.PutJSON(6, now, now.Add(time.Hour), fmt.Sprintf(`{"id":6,"start_time":%d,"end_time":%d,"created_at":"in spring"}`, now.Unix(), now.Unix()))
	due(w)
	turn(truly)
	worker.until(t, good, 3)
	older, _ := w.API.Get(ids[1])
	older.Notes, older.UpdatedAt = "as it was once", older.UpdatedAt.AddDate(0, 0, -1)
	w.API.Put(older, wiwtest.Shape2025)
	turn(truly)
	turn(wiwtest.Status(http.StatusNotFound, `{}`))
	worker.until(t, bad, 1)
	turn(wiwtest.Status(http.StatusBadGateway, `{}`))
	turn(truly) // the next attempt
	turn(truly)
	worker.until(t, good, 5)
	return worker, page
}

// Whoever reads the one and then the other reads the same.
func TestDogStatsDAndPrometheusHaveEqualFigures(t *testing.T) {
	t.Parallel()
	server := serveDogStatsD(t)
	worker, page := eventful(t, server)
	all := agree(t, func() (sent, served map[string]float64) { return pageOf(t, server.page), pageOf(t, page) })
	t.Log(table(all, "statsd_exporter", "/metrics"))
	happened := map[string]bool{}
	for _, c := range all {
		if name, _, _ := strings.Cut(c.series, "{"); c.sent != "0" && c.sent != "none" {
			happened[strings.Fields(name)[0]] = true
		}
	}
	for _, name := range []string{metricFetched, metricPublished, metricSetAside, metricBuried, metricHeldBack, metricLookedUp, metricGone,
		metricUnknownDates, metricTrouble, metricStepErrors, metricToken, metricActive, metricTaken, metricLag} {
		if !happened[name] {
			t.Errorf("nothing of %s was measured", name)
		}
	}
	if prometheusIsThere(t) {
		p := askPrometheus(t, map[string]string{"sent": server.page, "served": page})
		all = agree(t, func() (sent, served map[string]float64) { return p.figures(t, "sent"), p.figures(t, "served") })
		t.Log(table(all, "sent, in Prometheus", "served, in Prometheus"))
	}
	worker.halt(t)
}

func table(all []compared, sent, served string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nmetric\t%s\t%s\n", sent, served)
	for _, c := range all {
		if c.sent != "0" || c.served != "0" {
			fmt.Fprintf(w, "%s\t%s\t%s\n", c.series, c.sent, c.served)
		}
	}
	w.Flush()
	return b.String()
}
