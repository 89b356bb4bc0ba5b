package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/DataDog/datadog-go/v5/statsd"
)

// canSync is the name of the service check, without the namespace.
const canSync = "can_sync"

// statusLevel is what a service check says.
type statusLevel = statsd.ServiceCheckStatus

const (
	statusGood     = statsd.Ok
	statusWarning  = statsd.Warn
	statusCritical = statsd.Critical
)

// serviceStatus is how the worker does its work.
type serviceStatus struct {
	level   statusLevel
	message string
}

// statusOf judges the end of a pass. The message is a reason from a short list: an error's text may be long.
func statusOf(result string, err error) serviceStatus {
	switch result {
	case resultOK:
		return serviceStatus{level: statusGood}
	case resultPending:
		return serviceStatus{statusWarning, "something stays pending: " + string(causeOf(err))}
	default:
		return serviceStatus{statusCritical, "pass failed: " + string(causeOf(err))}
	}
}

// stats is what is used of a StatsD client. None of its calls waits for the network.
type stats interface {
	Count(name string, n int64, tags []string, rate float64) error
	Gauge(name string, value float64, tags []string, rate float64) error
	Distribution(name string, value float64, tags []string, rate float64) error
	Event(e *statsd.Event) error
	ServiceCheck(c *statsd.ServiceCheck) error
	Close() error
}

// dogStatsD sends points to an agent of Datadog. Errors of single calls are not looked at.
type dogStatsD struct {
	client    stats
	namespace string
}

func newDogStatsD(client stats, namespace string) *dogStatsD {
	return &dogStatsD{client: client, namespace: namespace}
}

// dialStatsD returns nil if there is nobody to send to.
func dialStatsD(cfg *config, log *slog.Logger) *dogStatsD {
	addr := cfg.statsdAddr()
	switch {
	case addr == "" && cfg.servesHTTP():
		log.Info("metrics are served at /metrics and not sent: there is no STATSD_HOST")
		return nil
	case addr == "":
		log.Info("metrics are off: there is no STATSD_HOST")
		return nil
	}
	client, err := statsd.New(addr, statsdOptions(cfg)...)
	if err != nil {
		log.Warn("metrics are not sent yet: STATSD_HOST, DD_DOGSTATSD_URL or DD_AGENT_HOST names a place that is not found; it is looked for again and again", "every_s", searchEvery.Seconds(), "err", err)
		late := newLateStats(func(ctx context.Context) (stats, error) { return connectStatsD(ctx, addr, statsdOptions(cfg)) }, log)
		return newDogStatsD(late, cfg.Metrics.Namespace)
	}
	return newDogStatsD(client, cfg.Metrics.Namespace)
}

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
		statsd.WithoutTelemetry(),                       // the client's own metrics
		statsd.WithoutOriginDetection(),                 // a field that plain StatsD servers do not know
		statsd.WithConnectTimeout(time.Second),          // of a socket, in a goroutine of the client
		statsd.WithWriteTimeout(100 * time.Millisecond), // as long as an agent that hangs may hold up what is sent next
	}
}

func (d *dogStatsD) put(m *metric, value float64, values []string) {
	tags := tagged(m, values)
	switch m.Type {
	case kindCount:
		d.client.Count(m.Name, int64(value), tags, 1)
	case kindGauge:
		d.client.Gauge(m.Name, value, tags, 1)
	case kindSpread:
		d.client.Distribution(m.Name, value, tags, 1)
	}
}

// tagged returns the tags as Datadog writes them.
func tagged(m *metric, values []string) []string {
	var tags []string
	for i, value := range values {
		tags = append(tags, m.Tags[i].Name+":"+value)
	}
	return tags
}

// drop does nothing: a gauge that is not sent any more ends by itself.
func (d *dogStatsD) drop(*metric, []string) {}

// starting sends the event that slot_sync sent when it started.
func (d *dogStatsD) starting() {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	d.client.Event(&statsd.Event{Title: startingEvent, Text: "node: " + host, Tags: []string{startingEventTag}})
}

// check sends the service check. The client puts no namespace before its name.
func (d *dogStatsD) check(s serviceStatus) {
	d.client.ServiceCheck(&statsd.ServiceCheck{Name: d.namespace + "." + canSync, Status: s.level, Message: s.message})
}

// Close sends what is left.
func (d *dogStatsD) Close() error { return d.client.Close() }
