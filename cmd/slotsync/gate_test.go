package main

import (
	"bytes"
	"net"
	"sync"
	"testing"
)

// gate stands in front of a server. Once it is shut, all that comes is swallowed and nothing is answered, over old
// connections and new ones, as by a server that hangs.
type gate struct {
	addr string
	to   string

	mu      sync.Mutex // guards all below
	open    bool
	trigger []byte // a piece of a request that shuts it; empty: none does
	shut    chan struct{}
	conns   map[net.Conn]struct{}
}

// gateTo starts an open gate to an address.
func gateTo(t *testing.T, to string) *gate {
	t.Helper()
	return gateAt(t, "127.0.0.1:0", to)
}

// gateAt starts it at a place of its own.
func gateAt(t *testing.T, at, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{addr: l.Addr().String(), to: to, open: true, shut: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return // the test has ended
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			g.keep(near, far)
			serving.Go(func() { g.pass(near, far, true) })
			serving.Go(func() { g.pass(far, near, false) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		g.mu.Lock()
		for c := range g.conns {
			c.Close()
		}
		g.mu.Unlock()
		serving.Wait()
	})
	return g
}

func (g *gate) keep(conns ...net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range conns {
		g.conns[c] = struct{}{}
	}
}

// pass hands on what one side says to the other.
func (g *gate) pass(from, to net.Conn, request bool) {
	defer from.Close()
	defer to.Close()
	piece := make([]byte, 1<<16)
	for {
		n, err := from.Read(piece)
		if err != nil {
			return
		}
		if request {
			g.look(piece[:n])
		}
		g.mu.Lock()
		open := g.open
		g.mu.Unlock()
		if !open {
			continue
		}
		if _, err := to.Write(piece[:n]); err != nil {
			return
		}
	}
}

// shutAt shuts the gate when a request has the text in it.
func (g *gate) shutAt(text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trigger = []byte(text)
}

func (g *gate) look(request []byte) {
	g.mu.Lock()
	hit := len(g.trigger) > 0 && bytes.Contains(request, g.trigger)
	g.mu.Unlock()
	if hit {
		g.close()
	}
}

// reopen lets pass what comes from now on.
func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = true
	for c := range g.conns { // of what they have said already a part is missing
		c.Close()
	}
	clear(g.conns)
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open {
		g.open = false
		close(g.shut)
	}
}
