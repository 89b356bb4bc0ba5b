//go:build linux

package main

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// tap stands between a worker and its road to a broker, and sees which batches are on their way: produce requests that
// have left the worker and were not answered.
type tap struct {
	listener net.Listener
	to       string
	flying   *flying
	work     sync.WaitGroup

	mu     sync.Mutex // guards what follows
	conns  map[net.Conn]struct{}
	closed bool
}

// flying counts what is on its way from one worker to all brokers.
type flying struct {
	mu sync.Mutex // guards n
	n  int
}

func (f *flying) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n += n
}

func (f *flying) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// newTap begins to listen for what goes on to an address.
func newTap(to string, f *flying) (*tap, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &tap{listener: l, to: to, flying: f, conns: map[net.Conn]struct{}{}}
	t.work.Go(t.accept)
	return t, nil
}

// Addr is where the tap listens, host:port.
func (t *tap) Addr() string { return t.listener.Addr().String() }

// Close ends all connections and takes no new ones.
func (t *tap) Close() {
	_ = t.listener.Close()
	t.mu.Lock()
	t.closed = true
	for c := range t.conns {
		_ = c.Close()
	}
	t.mu.Unlock()
	t.work.Wait()
}

func (t *tap) accept() {
	for {
		c, err := t.listener.Accept()
		if err != nil {
			return
		}
		t.work.Go(func() { t.serve(c) })
	}
}

// track keeps a connection for Close, and tells whether it is too late for it.
func (t *tap) track(c net.Conn) (late bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns[c] = struct{}{}
	return t.closed
}

func (t *tap) drop(c net.Conn) {
	_ = c.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
}

func (t *tap) serve(worker net.Conn) {
	defer t.drop(worker)
	if tcp, ok := worker.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a road that is cut ends the connection at once, and not politely
	}
	if t.track(worker) {
		return
	}
	road, err := net.Dial("tcp", t.to)
	if err != nil {
		return
	}
	defer t.drop(road)
	if t.track(road) {
		return
	}
	c := &conversation{flying: t.flying, asked: map[int32]struct{}{}}
	var back sync.WaitGroup
	back.Go(func() {
		c.copy(worker, road, c.answered)
		_ = worker.Close() // and with it the other direction ends
	})
	c.copy(road, worker, c.requested)
	c.end()
	if tcp, ok := road.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // what the worker sent before it died goes on
	}
	back.Wait()
}

// conversation is one connection.
type conversation struct {
	flying *flying
	mu     sync.Mutex         // guards asked
	asked  map[int32]struct{} // produce requests without an answer, by their number
}

// copy hands on frame after frame, each of which begins with its length, and shows the first 8 bytes behind that to see.
func (c *conversation) copy(to io.Writer, from io.Reader, see func(head []byte)) {
	for {
		var head [12]byte
		n, err := io.ReadFull(from, head[:])
		if err == nil {
			see(head[4:]) // before an answer can come
		}
		if _, e := to.Write(head[:n]); e != nil || err != nil {
			return
		}
		rest := int64(binary.BigEndian.Uint32(head[:])) - 8
		if _, err := io.CopyN(to, from, rest); err != nil {
			return
		}
	}
}

// requested looks at a request: the number of what it asks for, its version, and its own number.
func (c *conversation) requested(head []byte) {
	const produce = 0
	if binary.BigEndian.Uint16(head) != produce {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[int32(binary.BigEndian.Uint32(head[4:]))] = struct{}{}
	c.flying.add(1)
}

// answered looks at an answer, which begins with the number of its request.
func (c *conversation) answered(head []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	number := int32(binary.BigEndian.Uint32(head))
	if _, is := c.asked[number]; is {
		delete(c.asked, number)
		c.flying.add(-1)
	}
}

// end forgets what was not answered.
func (c *conversation) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flying.add(-len(c.asked))
	clear(c.asked)
}
