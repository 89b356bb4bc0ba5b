//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// road is the way from a worker to a server. All is well on it until somebody does something to it, which lasts until
// it is undone.
type road struct {
	proxy *toxiproxy.Proxy
}

// undo ends what was done to something.
type undo func() error

// newRoad returns a way to whatever listens at an address, now or later.
func newRoad(to string) (*road, error) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // some of it talks past the logger that it is given
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, to, "127.0.0.1:0", to)
	if err := p.Start(); err != nil {
		return nil, fmt.Errorf("road to %s: %w", to, err)
	}
	return &road{p}, nil
}

// Addr is where the road begins, host:port.
func (r *road) Addr() string { return r.proxy.Listen }

// Close ends all connections and takes no new ones.
func (r *road) Close() { r.proxy.Stop() }

// way is a direction on a road.
type way string

const (
	there way = "upstream"
	back  way = "downstream"
)

// delay makes everything that goes one way late by d. It arrives even if its sender dies meanwhile; what is under way
// when the delay is undone arrives at once.
func (r *road) delay(w way, d time.Duration) (undo, error) {
	return r.lay(w, "latency", map[string]int64{"latency": d.Milliseconds()})
}

// swallow lets nothing through that goes one way. The connections are broken when that is undone.
func (r *road) swallow(w way) (undo, error) {
	return r.lay(w, "timeout", map[string]int64{"timeout": 0})
}

// narrow lets so many kilobytes a second through that go one way.
func (r *road) narrow(w way, kilobytes int64) (undo, error) {
	return r.lay(w, "bandwidth", map[string]int64{"rate": kilobytes})
}

// block breaks all connections and refuses new ones.
func (r *road) block() (undo, error) {
	r.proxy.Stop()
	return r.proxy.Start, nil
}

func (r *road) lay(w way, kind string, attributes map[string]int64) (undo, error) {
	toxic, err := json.Marshal(map[string]any{"type": kind, "stream": w, "attributes": attributes})
	if err != nil {
		return nil, err
	}
	laid, err := r.proxy.Toxics.AddToxicJson(strings.NewReader(string(toxic)))
	if err != nil {
		return nil, fmt.Errorf("%s on the road to %s: %w", kind, r.proxy.Upstream, err)
	}
	return func() error { return r.proxy.Toxics.RemoveToxic(context.Background(), laid.Name) }, nil
}

// onAll does the same to several roads, and undoes it on all of them.
func onAll(roads []*road, do func(*road) (undo, error)) (undo, error) {
	var done []undo
	all := func() (err error) {
		for _, u := range done {
			if e := u(); e != nil {
				err = e
			}
		}
		return err
	}
	for _, r := range roads {
		u, err := do(r)
		if err != nil {
			_ = all() // the first error counts
			return nil, err
		}
		done = append(done, u)
	}
	return all, nil
}
