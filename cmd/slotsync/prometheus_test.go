package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/slotsync/slotsync/cmd/mini/world"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// paged returns metrics that are served at /metrics.
func paged(t *testing.T) *metrics {
	t.Helper()
	m := newMetrics(loadOK(t, minimal(env{"HTTP_ADDR": ":8080"})), quiet())
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestThePageKeepsPrometheusRules(t *testing.T) {
	m := paged(t)
	m.enters(tenure{state: stateActive})
	m.request("2xx", time.Second)
	m.done(shiftsync.Report{Pass: "p1", Called: true, Took: time.Second}, resultOK, nil)
	found, err := testutil.GatherAndLint(m.page.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range found {
		if strings.HasPrefix(problem.Metric, "slotsync_") {
			t.Errorf("%s: %s", problem.Metric, problem.Text)
		}
	}
}

func TestTheCountsBeginAtZero(t *testing.T) {
	m := paged(t)
	for name, want := range map[string]float64{`slotsync_pass_trouble_total{reason="fenced"}`: 0, `slotsync_wiw_requests_total{status_class="5xx"}`: 0, `slotsync_wiw_get_total`: 0} {
		if got, there := scraped(t, m)[name]; !there || got != want {
			t.Errorf("got %s %v, %v, want %v", name, got, there, want)
		}
	}
}

func TestAStandbyLeavesThePassesToTheOther(t *testing.T) {
	m := paged(t)
	m.enters(tenure{state: stateActive})
	m.done(shiftsync.Report{Pass: "p1", Called: true}, resultOK, nil)
	left := []string{metricPending, metricUnburied, metricNotCollected, metricDeferred, metricAside, metricMissing, metricFailures}
	check := func(claim string, there ...string) {
		t.Helper()
		page := scraped(t, m)
		for _, name := range append(left, metricPassAge) {
			if _, is := page[promName(m.byName[name])]; is != slices.Contains(there, name) {
				t.Errorf("%s: %s is there: %v", claim, name, is)
			}
		}
	}
	check("active", append(left, metricPassAge)...)
	m.enters(tenure{stateStandby, shiftsync.Standing{InStep: time.Now()}})
	check("standby", metricPassAge)
}

// scraped is the page, by series.
func scraped(t *testing.T, m *metrics) map[string]float64 {
	t.Helper()
	families, err := m.page.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	page := map[string]float64{}
	for _, f := range families {
		for _, x := range f.GetMetric() {
			name := f.GetName()
			for _, l := range x.GetLabel() {
				name += fmt.Sprintf("{%s=%q}", l.GetName(), l.GetValue())
			}
			page[name] = x.GetCounter().GetValue() + x.GetGauge().GetValue()
		}
	}
	return page
}

// prometheusServer is a real Prometheus that looks at one page.
type prometheusServer struct{ url string }

// prometheusIsThere tells whether one is installed. make test-stack promises that it is.
func prometheusIsThere(t *testing.T) bool {
	t.Helper()
	if os.Getenv("SLOTSYNC_TEST_STACK") != "" {
		need(t, "prometheus", "apt-get install prometheus")
		need(t, "promtool", "apt-get install prometheus")
	}
	_, err := exec.LookPath("prometheus")
	return err == nil
}

// askPrometheus starts one with our alerts, which looks each second at pages, by the name of their job.
func askPrometheus(t *testing.T, pages map[string]string) prometheusServer {
	t.Helper()
	rules, err := filepath.Abs("dashboards/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	output(t, exec.Command("promtool", "check", "rules", rules))
	dir := t.TempDir()
	settings := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%s]\nscrape_configs:\n", rules)
	for job, page := range pages {
		text += fmt.Sprintf("- {job_name: %s, static_configs: [{targets: [%q]}]}\n", job, page)
	}
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := newLogged()
	server := exec.Command("prometheus", "--config.file="+settings, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0", "--log.format=json")
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if t.Failed() {
			t.Logf("Prometheus says\n%s", log)
		}
	})
	log.until(t, `"Listening on"`, 1)
	addr := regexp.MustCompile(`"address":"([^"]+)".*"Listening on"`).FindStringSubmatch(log.String())
	if addr == nil {
		t.Fatalf("where Prometheus listens is not in\n%s", log)
	}
	return prometheusServer{"http://" + addr[1]}
}

// sample is the newest value of a series.
type sample struct {
	Metric map[string]string
	Value  [2]any // time and value
}

// ask returns what a query gives; an error is an answer too, while it starts.
func (p prometheusServer) ask(t *testing.T, query string) (found []sample, err error) {
	t.Helper()
	resp, err := http.PostForm(p.url+"/api/v1/query", url.Values{"query": {query}})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	var answer struct {
		Status, Error string
		Data          struct{ Result []sample }
	}
	if err := errors.Join(err, json.Unmarshal(text, &answer)); err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	if answer.Status != "success" {
		return nil, errors.New(answer.Error)
	}
	return answer.Data.Result, nil
}

// recordedSeries is a series in time.
type recordedSeries struct {
	Metric map[string]string
	Values [][2]any // time and value
}

// over returns what a query gave from one time to another.
func (p prometheusServer) over(t *testing.T, query string, from, to time.Time, step time.Duration) []recordedSeries {
	t.Helper()
	resp, err := http.PostForm(p.url+"/api/v1/query_range", url.Values{
		"query": {query}, "start": {fmt.Sprint(from.Unix())}, "end": {fmt.Sprint(to.Unix())}, "step": {fmt.Sprint(step.Seconds())},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []recordedSeries }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Error != "" {
		t.Fatalf("%s: %v %s", query, err, answer.Error)
	}
	return answer.Data.Result
}

// figures are the newest values of a job's metrics, by series; none while it starts.
func (p prometheusServer) figures(t *testing.T, job string) map[string]float64 {
	t.Helper()
	found, _ := p.ask(t, fmt.Sprintf(`{__name__=~"slot_?sync_.+",le="",quantile="",job=%q}`, job))
	figures := map[string]float64{}
	for _, s := range found {
		name := s.Metric["__name__"]
		for label, value := range s.Metric {
			if label != "__name__" && label != "job" && label != "instance" {
				name += fmt.Sprintf("{%s=%q}", label, value)
			}
		}
		figures[name], _ = strconv.ParseFloat(fmt.Sprint(s.Value[1]), 64)
	}
	return figures
}

func TestWhatGrafanaAndTheAlertsAskForIsThere(t *testing.T) {
	t.Parallel()
	if !prometheusIsThere(t) {
		t.Skip("there is no Prometheus: apt-get install prometheus")
	}
	w := start(t, world.Options{Shifts: 200, Partitions: 2})
	token := tokenUntil(time.Now().Add(time.Hour))
	w.API.SetToken(token)
	r, page := loopHTTP(t, in(w, env{"WIW_KEY": token, "SYNC_SLEEP_PERIOD_SECONDS": "1"}))
	p := askPrometheus(t, map[string]string{"slotsync": page})
	r.until(t, good, 1)

	queries := map[string]string{}
	for _, panel := range panels(t) {
		for _, target := range panel.Targets {
			queries[panel.Title+": "+target.Expr] = strings.NewReplacer("$__rate_interval", "1m", "$job", ".*").Replace(target.Expr)
		}
	}
	limit := regexp.MustCompile(`^(.*) [<>] [0-9.]+( or absent\(.*\))?$`)
	for _, a := range alerts(t) {
		compared := limit.FindStringSubmatch(a.expr)
		if compared == nil {
			t.Errorf("%s compares with nothing: %s", a.name, a.expr)
			continue
		}
		queries[a.name+": "+a.expr] = compared[1] // whether it is alarming or not, which promtool tries
	}
	if len(queries) < 40 {
		t.Fatalf("only %d queries", len(queries))
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for late := time.After(90 * time.Second); len(queries) > 0; {
		select {
		case <-tick.C:
		case <-late:
			for what, query := range queries {
				_, err := p.ask(t, query)
				t.Errorf("no data for %s, %v", what, err)
			}
			return
		}
		w.API.Churn(3)
		for what, query := range queries {
			if found, err := p.ask(t, query); err == nil && len(found) > 0 {
				delete(queries, what)
			}
		}
	}
	r.halt(t)
}
