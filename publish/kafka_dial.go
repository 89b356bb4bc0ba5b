package publish

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// dialTimeout bounds all that it takes to get a connection: dialing, TLS, versions, login.
const dialTimeout = 3 * time.Second

// dialer remembers its open connections, so that Close need not wait for brokers that do not answer.
type dialer struct {
	connect func(ctx context.Context, network, address string) (net.Conn, error)

	mu     sync.Mutex // guards what follows
	open   map[*openConn]struct{}
	closed bool
}

func newDialer(connect func(ctx context.Context, network, address string) (net.Conn, error)) *dialer {
	if connect == nil {
		connect = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	return &dialer{connect: connect, open: make(map[*openConn]struct{})}
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.connect(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := &openConn{Conn: c, dialer: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	d.open[conn] = struct{}{}
	return conn, nil
}

func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for c := range d.open {
		_ = c.Conn.Close() // there is nothing left to be read or written
	}
	clear(d.open)
}

type openConn struct {
	net.Conn
	dialer *dialer
	heard  [4]byte // the first bytes of the first answer
	n      int     // how many of them came
}

// errHTTP keeps an answer in HTTP from being taken for a frame: its first four letters would be a length of 1.2 GB.
var errHTTP = errors.New("it answers in HTTP: this is no Kafka broker")

// Read is called by one goroutine at a time.
func (c *openConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.n < len(c.heard) {
		c.n += copy(c.heard[c.n:], p[:n])
		if string(c.heard[:]) == "HTTP" {
			return 0, errHTTP
		}
	}
	return n, err
}

func (c *openConn) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.open, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}
