package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"time"
)

// statsdFacts are what a socket tells of whoever listens, which with UDP is next to nothing.
type statsdFacts struct {
	addr     string // empty: metrics are off
	err      error  // no socket
	refused  bool   // nobody listens
	resolved string
}

// echoFor is long enough for a host to say that nobody listens there.
const echoFor = 300 * time.Millisecond

// askStatsD sends two empty packets, which say nothing: where nobody listens, the answer to the first one comes back
// as the error of what follows.
func askStatsD(ctx context.Context, w *facts) {
	s := &w.statsd
	s.addr = w.cfg.statsdAddr()
	if s.addr == "" {
		return
	}
	network, addr := "udp", s.addr
	if scheme, path, isSocket := strings.Cut(s.addr, "://"); isSocket {
		network, addr = "unixgram", path
		if scheme == "unixstream" {
			network = "unix"
		}
	}
	began := time.Now()
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if errors.Is(err, syscall.EPROTOTYPE) && strings.HasPrefix(s.addr, "unix://") {
		conn, err = d.DialContext(ctx, "unix", addr) // the other kind of socket that agents have
	}
	if err != nil {
		s.err = waited(began, err)
		return
	}
	defer conn.Close()
	s.resolved = conn.RemoteAddr().String()
	if network != "udp" {
		return
	}
	for range 2 {
		_, err := conn.Write(nil)
		if err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(echoFor))
			_, err = conn.Read(make([]byte, 1))
		}
		if s.refused = errors.Is(err, syscall.ECONNREFUSED); s.refused {
			return
		}
	}
}

func statsdChecks() []check {
	return []check{{"statsd", "StatsD", "metrics", func(w *facts) finding {
		s := &w.statsd
		switch {
		case s.addr == "":
			return ok("off: there is no STATSD_HOST")
		case s.err != nil:
			return warn("correct STATSD_HOST, STATSD_PORT or DD_DOGSTATSD_URL; until then there are no metrics, and the worker works", "%s", s.err)
		case s.refused:
			return warn("start the agent, or correct STATSD_HOST and STATSD_PORT; until then metrics are lost, and the worker works",
				"nobody listens at %s", s.resolved)
		case strings.HasPrefix(s.addr, "unix"):
			return ok("somebody listens at %s", s.resolved)
		}
		return ok("sent to %s; nobody confirms UDP", s.resolved)
	}}}
}
