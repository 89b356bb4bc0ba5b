package wiw

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// newDecoder returns a decoder that reads what is odd but clear.
func newDecoder(r io.Reader) *jsontext.Decoder {
	return jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// cursor walks one object or array in memory: enter, next until it is false, leave. The zero cursor is ready, and one
// that was left may be used again.
type cursor struct {
	name  []byte         // of the member in hand, without quotes
	value jsontext.Value // in hand; never empty after next returned true

	src   bytes.Buffer
	dec   *jsontext.Decoder
	named bool
	err   error
}

var (
	errOtherKind = errors.New("not a JSON object")
	errNotJSON   = errors.New("not JSON")
)

// enter begins to walk b, whose first token must be open.
func (c *cursor) enter(b []byte, open jsontext.Kind) {
	c.src = *bytes.NewBuffer(b)
	if c.dec == nil {
		c.dec = newDecoder(&c.src)
	}
	c.named, c.err = open == jsontext.KindBeginObject, nil
	switch c.dec.PeekKind() {
	case open:
		_, c.err = c.dec.ReadToken()
	case jsontext.KindInvalid:
		c.err = errNotJSON
	default:
		c.err = errOtherKind
	}
}

// next takes the next member or element in hand. It returns false at the end, and at a fault.
func (c *cursor) next() bool {
	if c.err != nil {
		return false
	}
	kind := c.dec.PeekKind()
	if kind == jsontext.KindEndObject || kind == jsontext.KindEndArray {
		return false
	}
	if c.named {
		name, err := c.dec.ReadValue()
		if err != nil {
			c.err = errNotJSON
			return false
		}
		c.name = unquoted(name)
	}
	value, err := c.dec.ReadValue()
	if err != nil {
		c.err = errNotJSON
		return false
	}
	c.value = value
	return true
}

// leave ends the walk, lets go of what was walked, and returns the first fault. Something behind the end is one.
func (c *cursor) leave() error {
	if c.err == nil {
		if _, err := c.dec.ReadToken(); err != nil {
			c.err = errNotJSON
		} else if _, err := c.dec.ReadToken(); err != io.EOF {
			c.err = errNotJSON
		}
	}
	c.name, c.value, c.src = nil, nil, bytes.Buffer{}
	c.dec.Reset(&c.src, c.dec.Options())
	return c.err
}
