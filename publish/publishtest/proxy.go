package publishtest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

// Proxy stands between a Kafka client and its brokers, whose addresses it need not know: the client dials through it.
// It passes everything on, except what a Catch holds back.
type Proxy struct {
	mu      sync.Mutex // guards what follows
	fronts  map[string]net.Listener
	conns   map[net.Conn]struct{}
	catches []*Catch
	watches []watch
	cut     bool
	closed  bool
	running sync.WaitGroup
}

// Way is a direction through the proxy.
type Way int

const (
	Request Way = iota // from the client to a broker
	Answer             // from a broker to the client
)

// Catch holds back some requests of one kind, or their answers.
type Catch struct {
	way   Way
	api   int16
	left  int           // how many more it will take
	due   int           // how many have yet to arrive
	full  chan struct{} // closed when due is 0
	fate  chan struct{} // closed when it is decided
	drop  bool          // valid once fate is closed
	proxy *Proxy
}

// watch is told of the requests of one kind.
type watch struct {
	api int16
	see func(frame []byte)
}

// NewProxy returns a proxy that runs until Close.
func NewProxy() *Proxy {
	return &Proxy{fronts: make(map[string]net.Listener), conns: make(map[net.Conn]struct{})}
}

// Dial connects to address through the proxy. It has the form that Kafka clients take as a hook.
func (p *Proxy) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	front, err := p.front(ctx, address)
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, network, front)
}

// Catch holds back the next n requests of an API (its key: 0 is Produce, 22 InitProducerID), or the answers to them.
// The connection of each stands still until Release or Drop.
func (p *Proxy) Catch(way Way, api int16, n int) *Catch {
	c := &Catch{way: way, api: api, left: n, due: n, full: make(chan struct{}), fate: make(chan struct{}), proxy: p}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.catches = append(p.catches, c)
	return c
}

// Watch calls see with each request of an API, its four bytes of length included, before it goes to a broker. See is
// called from several goroutines and must not keep the frame.
func (p *Proxy) Watch(api int16, see func(frame []byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watches = append(p.watches, watch{api, see})
}

// Caught is closed when all are caught. An answer counts when it has arrived, so that its request has been obeyed.
func (c *Catch) Caught() <-chan struct{} { return c.full }

// Release lets go what was caught, even if the client has gone meanwhile, and catches nothing more.
func (c *Catch) Release() { c.decide(false) }

// Drop cuts the connections of what was caught, and catches nothing more.
func (c *Catch) Drop() { c.decide(true) }

func (c *Catch) decide(drop bool) {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	select {
	case <-c.fate:
		return
	default:
	}
	c.drop, c.left = drop, 0
	close(c.fate)
}

// Cut ends all connections and refuses new ones until Mend.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		_ = c.Close()
	}
}

// Mend ends a Cut.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

// Close ends all connections and waits until nothing of the proxy runs any more.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	catches := p.catches
	for _, l := range p.fronts {
		_ = l.Close()
	}
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	for _, c := range catches {
		c.Drop()
	}
	p.running.Wait()
}

// front returns the address at which the proxy listens for a broker.
func (p *Proxy) front(ctx context.Context, broker string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return "", net.ErrClosed
	}
	if l := p.fronts[broker]; l != nil {
		return l.Addr().String(), nil
	}
	l, err := (&net.ListenConfig{}).Listen(context.WithoutCancel(ctx), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	p.fronts[broker] = l
	p.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.serve(c, broker) })
		}
	})
	return l.Addr().String(), nil
}

func (p *Proxy) serve(client net.Conn, broker string) {
	defer client.Close()
	if !p.track(client) {
		return
	}
	defer p.forget(client)
	server, err := net.Dial("tcp", broker)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.track(server) {
		return
	}
	defer p.forget(server)

	caught := make(chan *Catch, 64) // for each request under way, what holds back its answer, or nil
	var both sync.WaitGroup
	both.Go(func() {
		defer close(caught)
		p.requests(client, server, caught)
	})
	p.answers(server, client, caught)
	_ = client.Close() // ends requests too
	both.Wait()
}

// requests passes frames on to the broker. When the client has gone, answers are still waited for: the broker has to
// get the time to obey.
func (p *Proxy) requests(client, server net.Conn, caught chan<- *Catch) {
	for {
		frame, err := readFrame(client)
		if err != nil {
			if tcp, ok := server.(*net.TCPConn); ok {
				_ = tcp.CloseWrite() // the broker reads to the end of what it was sent
			}
			return
		}
		api := int16(binary.BigEndian.Uint16(frame[4:]))
		if c := p.catch(Request, api); c != nil {
			c.count()
			if <-c.fate; c.drop {
				_ = server.Close()
				return
			}
		}
		p.show(api, frame)
		caught <- p.catch(Answer, api)
		if _, err := server.Write(frame); err != nil {
			return
		}
	}
}

func (p *Proxy) answers(server, client net.Conn, caught <-chan *Catch) {
	for {
		frame, err := readFrame(server)
		if err != nil {
			return
		}
		if c := <-caught; c != nil {
			c.count()
			if <-c.fate; c.drop {
				return
			}
		}
		if _, err := client.Write(frame); err != nil {
			_, _ = io.Copy(io.Discard, server) // the client has gone
			return
		}
	}
}

// show tells those who watch.
func (p *Proxy) show(api int16, frame []byte) {
	p.mu.Lock()
	watches := p.watches
	p.mu.Unlock()
	for _, w := range watches {
		if w.api == api {
			w.see(frame)
		}
	}
}

// catch finds who holds back the next frame, if anybody does.
func (p *Proxy) catch(way Way, api int16) *Catch {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.catches {
		if c.way == way && c.api == api && c.left > 0 {
			c.left--
			return c
		}
	}
	return nil
}

// count notes that one has arrived.
func (c *Catch) count() {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	if c.due--; c.due == 0 {
		close(c.full)
	}
}

func (p *Proxy) track(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut || p.closed {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// readFrame returns a request or answer with the four bytes of its length.
func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > 100<<20 {
		return nil, errors.New("no frame of the Kafka protocol")
	}
	frame := make([]byte, 4+n)
	copy(frame, size[:])
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}
