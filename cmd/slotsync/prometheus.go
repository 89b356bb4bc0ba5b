package main

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// promPage keeps what is measured for a Prometheus that comes and asks.
type promPage struct {
	registry *prometheus.Registry
	handler  http.Handler
	counts   map[string]*prometheus.CounterVec
	gauges   map[string]*prometheus.GaugeVec
	spreads  map[string]*prometheus.HistogramVec
}

func newPromPage(log *slog.Logger) *promPage {
	p := &promPage{
		registry: prometheus.NewRegistry(),
		counts:   map[string]*prometheus.CounterVec{},
		gauges:   map[string]*prometheus.GaugeVec{},
		spreads:  map[string]*prometheus.HistogramVec{},
	}
	p.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	for _, m := range metricList() {
		p.register(&m)
	}
	p.handler = promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: 3,
	})
	return p
}

// register makes the metric known. A count begins at zero with all its series: what appears with its first increase has
// no increase for Prometheus.
func (p *promPage) register(m *metric) {
	var labels []string
	for _, t := range m.Tags {
		labels = append(labels, t.Name)
	}
	name, help := promName(m), strings.ReplaceAll(m.Meaning, "`", "")
	switch m.Type {
	case kindCount:
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		for _, values := range series(m.Tags) {
			vec.WithLabelValues(values...)
		}
		p.registry.MustRegister(vec)
		p.counts[m.Name] = vec
	case kindGauge:
		vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		p.registry.MustRegister(vec)
		p.gauges[m.Name] = vec
	case kindSpread:
		vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets(m)}, labels)
		p.registry.MustRegister(vec)
		p.spreads[m.Name] = vec
	}
}

// promName is the metric's name by Prometheus' rules: base units, and _total at the end of a count.
func promName(m *metric) string {
	name := "slotsync_" + strings.ReplaceAll(m.Name, ".", "_")
	if unit := "_" + m.Unit; (m.Unit == "seconds" || m.Unit == "bytes") && !strings.HasSuffix(name, unit) {
		name += unit
	}
	if m.Type == kindCount {
		name += "_total"
	}
	return name
}

// buckets are bounds in seconds: a change may be old for days, and no pass or step should be.
func buckets(m *metric) []float64 {
	if m.Name == metricLag {
		return []float64{1, 5, 10, 20, 30, 60, 120, 300, 900, 3600, 6 * 3600, 86400, 7 * 86400}
	}
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800}
}

// series are all the combinations of the tags' values; without tags, the empty one.
func series(tags []tag) [][]string {
	all := [][]string{nil}
	for _, t := range tags {
		var longer [][]string
		for _, begun := range all {
			for _, value := range t.Values {
				longer = append(longer, append(begun[:len(begun):len(begun)], value))
			}
		}
		all = longer
	}
	return all
}

func (p *promPage) put(m *metric, value float64, values []string) {
	switch m.Type {
	case kindCount:
		p.counts[m.Name].WithLabelValues(values...).Add(value)
	case kindGauge:
		p.gauges[m.Name].WithLabelValues(values...).Set(value)
	case kindSpread:
		p.spreads[m.Name].WithLabelValues(values...).Observe(value)
	}
}

func (p *promPage) drop(m *metric, values []string) { p.gauges[m.Name].DeleteLabelValues(values...) }

// Close has nothing to send.
func (p *promPage) Close() error { return nil }

// beside serves /metrics, if there is one, and leaves the other paths to the rest.
func (p *promPage) beside(rest http.Handler) http.Handler {
	if p == nil {
		return rest
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", p.handler)
	mux.Handle("/", rest)
	return mux
}
