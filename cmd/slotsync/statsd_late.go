package main

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/DataDog/datadog-go/v5/statsd"
)

// searchEvery is between two attempts to find an agent.
const searchEvery = 30 * time.Second

// lateStats is a client for an agent that could not be found when the worker started: its name may come into being after
// that of the worker, or DNS be away at that moment. Points are lost until it is there; the event of the start is kept.
type lateStats struct {
	log    *slog.Logger
	stop   context.CancelFunc
	search sync.WaitGroup

	mu    sync.Mutex    // guards all below
	found stats         // nil: not yet
	start *statsd.Event // sent when it is found; nil: there was none
}

var _ stats = (*lateStats)(nil)

// newLateStats asks connect for a client until there is one, or until Close.
func newLateStats(connect func(context.Context) (stats, error), log *slog.Logger) *lateStats {
	ctx, stop := context.WithCancel(context.Background())
	l := &lateStats{log: log, stop: stop}
	l.search.Go(func() {
		again := time.NewTicker(searchEvery)
		defer again.Stop()
		for {
			select {
			case <-again.C:
			case <-ctx.Done():
				return
			}
			if client, err := connect(ctx); err == nil {
				l.take(client)
				return
			}
		}
	})
	return l
}

func (l *lateStats) take(client stats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found = client
	if l.start != nil {
		_ = client.Event(l.start)
	}
	l.log.Info("metrics are sent from now on: the agent was found")
}

// with does something with the client, if there is one.
func (l *lateStats) with(do func(stats) error) error {
	l.mu.Lock()
	client := l.found
	l.mu.Unlock()
	if client == nil {
		return nil
	}
	return do(client)
}

func (l *lateStats) Count(name string, n int64, tags []string, rate float64) error {
	return l.with(func(s stats) error { return s.Count(name, n, tags, rate) })
}

func (l *lateStats) Gauge(name string, value float64, tags []string, rate float64) error {
	return l.with(func(s stats) error { return s.Gauge(name, value, tags, rate) })
}

func (l *lateStats) Distribution(name string, value float64, tags []string, rate float64) error {
	return l.with(func(s stats) error { return s.Distribution(name, value, tags, rate) })
}

func (l *lateStats) ServiceCheck(c *statsd.ServiceCheck) error {
	return l.with(func(s stats) error { return s.ServiceCheck(c) })
}

// Event keeps the event if it cannot be sent yet. There is only that of the start.
func (l *lateStats) Event(e *statsd.Event) error {
	l.mu.Lock()
	client := l.found
	if client == nil {
		l.start = e
	}
	l.mu.Unlock()
	if client == nil {
		return nil
	}
	return client.Event(e)
}

// Close ends the search, or sends what is left.
func (l *lateStats) Close() error {
	l.stop()
	l.search.Wait()
	return l.with(func(s stats) error { return s.Close() })
}

// connectStatsD looks the agent's name up first: the library does so too, but cannot be stopped at it.
func connectStatsD(ctx context.Context, addr string, options []statsd.Option) (stats, error) {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		if _, err := net.DefaultResolver.LookupHost(ctx, host); err != nil {
			return nil, err
		}
	}
	return statsd.New(addr, options...)
}
