package publish

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	// dialTimeout bounds all that it takes to get a connection without a login: dialing, TLS, versions.
	dialTimeout = 3 * time.Second
	// loginPatience bounds the login. Brokers may hold back a refusal for some seconds (connection.failed.authentication.delay.ms).
	loginPatience = 4500 * time.Millisecond
)

// dialer makes all connections to brokers, and logs in over them. It remembers those that are open, so that Close need
// not wait for brokers that do not answer.
type dialer struct {
	connect  func(ctx context.Context, network, address string) (net.Conn, error)
	login    *Login // nil: none
	clientID string
	rest     func() // ends what the transport has open, after the answer to what is under way

	mu     sync.Mutex // guards what follows
	open   map[*openConn]struct{}
	closed bool
	failed map[string]failure // why an address was not reached the last time
	barred map[string]error   // what somebody has to mend about an address, found since the last question
}

func newDialer(o *KafkaOptions) *dialer {
	connect := o.Dial
	if connect == nil {
		connect = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	return &dialer{connect: connect, login: o.Login, clientID: o.ClientID, open: make(map[*openConn]struct{}),
		failed: make(map[string]failure), barred: make(map[string]error)}
}

// timeout is the longest that dial may take.
func (d *dialer) timeout() time.Duration {
	if d.login != nil {
		return dialTimeout + d.login.patience + loginPatience
	}
	return dialTimeout
}

// dial returns a connection over which requests can be sent. It knocks once a question where somebody has to mend
// something: the library comes by on its own every second or two.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	known := d.barred[address]
	d.mu.Unlock()
	if known != nil {
		return nil, known
	}
	conn, err := d.logIn(ctx, network, address)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.failed, address)
	if err != nil {
		d.failed[address] = failure{err, time.Now()}
	}
	if mustBeMended(err) {
		d.barred[address] = err
	}
	return conn, err
}

// asked is told of each question of our own, with which every address is worth another try.
func (d *dialer) asked() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.barred)
}

type failure struct {
	err error
	at  time.Time
}

// trouble returns what somebody has to mend about one of the addresses, or nil. Of some requests the library tells no
// more than that they failed. Other addresses may be of brokers that there are not any more.
func (d *dialer) trouble(addresses ...string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, address := range addresses {
		if err := d.failed[address].err; mustBeMended(err) {
			return brief(err)
		}
	}
	return nil
}

// noLogin returns why there was no login at one of the addresses lately, or nil. The library goes on to the next address,
// and there may not be the time for all of them.
func (d *dialer) noLogin(addresses []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, address := range addresses {
		var login *loginError
		if last := d.failed[address]; time.Since(last.at) < loginLimit && errors.As(last.err, &login) {
			return login
		}
	}
	return nil
}

// logIn connects, and logs in. The library would log in too, but it passes over how long that lasts.
func (d *dialer) logIn(ctx context.Context, network, address string) (net.Conn, error) {
	opening := ctx
	if d.login != nil {
		if err := d.login.held(); err != nil {
			return nil, err
		}
		var cancel context.CancelFunc
		opening, cancel = context.WithTimeout(ctx, dialTimeout)
		defer cancel()
	}
	c, err := d.connect(opening, network, address)
	if err != nil {
		return nil, err
	}
	conn := &openConn{Conn: c, dialer: d}
	if err := d.keep(conn); err != nil {
		return nil, err
	}
	if d.login == nil {
		return conn, nil
	}
	lasts, err := d.login.in(ctx, opening, conn, d.clientID, address)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	if lasts > 0 {
		d.mu.Lock()
		defer d.mu.Unlock()
		conn.retires = time.Now().Add(useOf(lasts))
		conn.end = time.AfterFunc(useOf(lasts), d.retire) // while nobody asks for anything, too
	}
	return conn, nil
}

// bounded does what reads and writes a connection, which ends with ctx.
func bounded(ctx context.Context, c net.Conn, do func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	err := do()
	if !stop() {
		return ctx.Err() // behind what the connection makes of it
	}
	return err
}

// useOf is how much of a session is used. A request that begins at its end has to come to the broker before the
// session is over, or is cut.
func useOf(lasts time.Duration) time.Duration { return lasts * 3 / 5 }

func (d *dialer) keep(conn *openConn) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = conn.Conn.Close()
		return net.ErrClosed
	}
	d.open[conn] = struct{}{}
	return nil
}

// retire has the transport replace its connections if one of them has come to the end of its use. None that is open now
// is taken for another one that has.
func (d *dialer) retire() {
	if d.due() {
		d.rest()
	}
}

func (d *dialer) due() bool {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	due := false
	for c := range d.open {
		due = due || !c.retires.IsZero() && !now.Before(c.retires)
	}
	if due {
		for c := range d.open {
			c.retires = time.Time{}
		}
	}
	return due
}

func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for c := range d.open {
		c.stopTimer()
		_ = c.Conn.Close() // there is nothing left to be read or written
	}
	clear(d.open)
}

// sessions hands requests to the transport, and has it replace its connections before the sessions in which they are
// logged in end: a broker cuts one that is used for longer. What was refused is not asked for again before the next one.
type sessions struct {
	transport *kafka.Transport
	dialer    *dialer
}

// RoundTrip implements kafka.RoundTripper.
func (s sessions) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	s.dialer.retire() // a timer may be late, after a pause of the whole process
	s.dialer.asked()
	res, err := s.transport.RoundTrip(ctx, addr, req)
	if mustBeMended(err) {
		s.transport.CloseIdleConnections()
	}
	return res, err
}

// maxFrame is far above any answer: those to a fetch, which are the largest, hold some 50 MB, or one batch if that is larger.
const maxFrame = 256 << 20

type openConn struct {
	net.Conn
	dialer  *dialer
	retires time.Time   // when to replace it; zero: never. The dialer's mu guards it
	end     *time.Timer // for that time; nil: none. The dialer's mu guards it

	head     [4]byte // of a frame: its length
	n        int     // how many bytes of it came
	left     int64   // of the frame, behind its head
	err      error
	asked    int  // requests that were begun
	answered bool // something came after the last of them
}

var (
	errHTTP       = errors.New("it answers in HTTP: this is no Kafka broker; is KAFKA_BROKERS right?")
	errTLS        = errors.New("it answers in TLS: set KAFKA_TLS=true, or give the port of a listener without TLS in KAFKA_BROKERS")
	errWantsTLS   = errors.New("the broker closed the connection at the first question, as one does that expects TLS: is KAFKA_TLS right?")
	errWantsLogin = errors.New("the broker closed the connection, as one does that expects a login: is KAFKA_SASL_MECHANISM right?")
	// The library takes any four bytes for a length, and makes room for what it then takes for a list. A negative one ends
	// the program.
	errNoFrame = errors.New("it does not answer as a Kafka broker does: is KAFKA_BROKERS right?")
)

// Read is called by one goroutine at a time, and not at the same time as Write: there is one request after the other.
func (c *openConn) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(p)
	if c.err = c.look(p[:n]); c.err != nil {
		return 0, c.err // what was announced must not be seen
	}
	if n > 0 {
		c.answered = true
	} else if errors.Is(err, io.EOF) {
		err = c.hungUp()
	}
	return n, err
}

func (c *openConn) Write(p []byte) (int, error) {
	if c.asked == 0 || c.answered {
		c.asked++
		c.answered = false
	}
	return c.Conn.Write(p)
}

// hungUp says what it may mean that a broker hangs up on somebody who has only just begun to speak. The library would
// make an end of file of each error that wraps one.
func (c *openConn) hungUp() error {
	_, secured := c.Conn.(interface{ ConnectionState() tls.ConnectionState })
	switch {
	case c.asked == 1 && !secured:
		return errWantsTLS
	case c.asked == 2 && c.dialer.login == nil:
		return errWantsLogin
	}
	return io.EOF
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
		case c.head[0] == 0x15 && c.head[1] == 3: // an alert
			return errTLS
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
	c.stopTimer()
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}

func (c *openConn) stopTimer() {
	if c.end != nil {
		c.end.Stop()
	}
}

// mustBeMended tells of an error in connecting that another try would meet again.
func mustBeMended(err error) bool {
	var (
		login   *loginError
		byRef   *x509.UnknownAuthorityError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		plain   tls.RecordHeaderError
	)
	if errors.As(err, &login) && login.passes {
		return false
	}
	return login != nil || errors.As(err, &byRef) || errors.As(err, &unknown) || errors.As(err, &name) ||
		errors.As(err, &invalid) || errors.As(err, &plain) || errors.Is(err, errHTTP) || errors.Is(err, errTLS) || errors.Is(err, errNoFrame) ||
		err != nil && strings.Contains(err.Error(), "remote error: tls: ") // which has no type
}
