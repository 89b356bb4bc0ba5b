package cache

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// What an answer may announce. Ours are pages of some hundred shifts; Redis itself bounds a text to 512 MiB.
const (
	maxText  = 512 << 20 // bytes of one text, and of a whole answer
	maxParts = 1 << 20   // of all lists of an answer
	maxDepth = 64        // of lists in lists
	maxLine  = 64 << 10  // of what is no text: a number, a status, an error
)

// errTooMuch ends a connection. The library would make room for whatever is announced before it comes.
var errTooMuch = errors.New("it announces more than any answer has: this is no Redis, or something between garbles it")

// newMeasured returns a client of one server whose answers are measured.
func newMeasured(o *redis.Options) *redis.Client {
	c := redis.NewClient(o)
	c.AddHook(measure{})
	return c
}

// measure makes a client's connections look at how much the server announces.
type measure struct{}

// DialHook is part of redis.Hook.
func (measure) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := next(ctx, network, address)
		if err != nil {
			return nil, err
		}
		m := &measured{Conn: conn}
		if socket, ok := conn.(syscall.Conn); ok { // through which the library finds that a connection is dead
			return struct {
				*measured
				syscall.Conn
			}{m, socket}, nil
		}
		return m, nil
	}
}

// ProcessHook is part of redis.Hook.
func (measure) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook is part of redis.Hook.
func (measure) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// measured is a connection whose answers are measured as they come. It knows as much of the protocol as that takes: a line
// tells what follows it, a text of so many bytes or a list of so many parts.
type measured struct {
	net.Conn
	err   error
	text  int64    // bytes to come of a text, the end of its line included
	begun [32]byte // of a line
	line  int      // bytes of it that have come
	depth int      // lists that were opened one right after the other

	// Of the answer:
	size   int64 // bytes that have come
	listed int64 // parts that were announced
	parts  int64 // to come
}

// Read is called by one goroutine at a time.
func (m *measured) Read(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	n, err := m.Conn.Read(p)
	if m.err = m.look(p[:n]); m.err != nil {
		return 0, m.err // what was announced must not be seen
	}
	return n, err
}

func (m *measured) look(p []byte) error {
	for len(p) > 0 {
		if m.parts <= 0 {
			m.parts, m.listed, m.size = 1, 0, 0 // another answer begins
		}
		n := len(p)
		if m.text > 0 {
			n = int(min(m.text, int64(n)))
			m.text -= int64(n)
			if m.text == 0 {
				m.parts--
			}
		} else {
			ends := bytes.IndexByte(p, '\n')
			if ends >= 0 {
				n = ends + 1
			}
			if m.line < len(m.begun) {
				copy(m.begun[m.line:], p[:n])
			}
			m.line += n
			if m.line > maxLine {
				return errTooMuch
			}
			if ends >= 0 {
				if err := m.lineEnds(); err != nil {
					return err
				}
				m.line = 0
			}
		}
		if m.size += int64(n); m.size > maxText {
			return errTooMuch
		}
		p = p[n:]
	}
	return nil
}

// lineEnds looks at what the line says is to follow. What it does not understand it leaves to the library.
func (m *measured) lineEnds() error {
	switch m.begun[0] {
	case '$', '=', '!':
		m.depth = 0
		n, endless, ok := m.announced()
		if endless || n > maxText {
			return errTooMuch
		}
		if n >= 0 && ok {
			m.text = n + int64(len("\r\n"))
			return nil
		}
	case '*', '~', '>', '%', '|':
		n, endless, _ := m.announced()
		if endless || n > maxParts {
			return errTooMuch
		}
		if n > 0 {
			return m.opens(n)
		}
	}
	m.depth = 0
	m.parts--
	return nil
}

// announced is the number in the line, if there is one.
func (m *measured) announced() (n int64, endless, ok bool) {
	n, err := strconv.ParseInt(string(bytes.TrimRight(m.begun[min(1, m.line):min(m.line, len(m.begun))], "\r\n")), 10, 64)
	return n, errors.Is(err, strconv.ErrRange), err == nil
}

// opens notes that a list of n parts, or of so many pairs, has begun.
func (m *measured) opens(n int64) error {
	kind := m.begun[0]
	if kind == '%' || kind == '|' {
		n *= 2
	}
	m.depth++
	m.listed += n
	if m.depth > maxDepth || m.listed > maxParts {
		return errTooMuch
	}
	m.parts += n
	if kind != '|' { // which stands before a part, and is none
		m.parts--
	}
	return nil
}
