package publish

import (
	"context"
	"encoding/binary"
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
	plain   bool // what comes is the protocol itself, and no TLS around it

	mu     sync.Mutex // guards what follows
	open   map[*openConn]struct{}
	closed bool
}

func newDialer(connect func(ctx context.Context, network, address string) (net.Conn, error), plain bool) *dialer {
	if connect == nil {
		connect = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	return &dialer{connect: connect, plain: plain, open: make(map[*openConn]struct{})}
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
	head   [4]byte // of a frame: its length
	n      int     // how many bytes of it came
	left   int64   // of the frame, behind its head
	err    error
}

// maxFrame is far above any answer: those to a fetch, which are the largest, hold some 50 MB, or one batch if that is larger.
const maxFrame = 256 << 20

var (
	errHTTP = errors.New("it answers in HTTP: this is no Kafka broker")
	// The library takes any four bytes for a length, and makes room for what it then takes for a list. A negative one ends
	// the program.
	errNoFrame = errors.New("it does not answer as a Kafka broker does: it is another server, or it expects TLS")
)

// Read is called by one goroutine at a time.
func (c *openConn) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(p)
	if c.dialer.plain {
		if c.err = c.look(p[:n]); c.err != nil {
			return 0, c.err // what was announced must not be seen
		}
	}
	return n, err
}

// look follows the frames of which the answers are made.
func (c *openConn) look(p []byte) error {
	for len(p) > 0 {
		if c.left > 0 {
			skipped := min(c.left, int64(len(p)))
			c.left -= skipped
			p = p[skipped:]
			continue
		}
		taken := copy(c.head[c.n:], p)
		c.n += taken
		p = p[taken:]
		if c.n < len(c.head) {
			continue
		}
		length := int32(binary.BigEndian.Uint32(c.head[:]))
		switch {
		case string(c.head[:]) == "HTTP":
			return errHTTP
		case length <= 0 || length > maxFrame:
			return errNoFrame
		}
		c.n, c.left = 0, int64(length)
	}
	return nil
}

func (c *openConn) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.open, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}
