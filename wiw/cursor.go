package wiw

import (
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// newDecoder returns a decoder that reads what is odd but clear.
func newDecoder(r io.Reader) *jsontext.Decoder {
	return jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// cursor walks one object or array in memory: enter, next until it is false, leave. The zero cursor is ready, and one
// that was left may be used again. It takes and refuses what the decoder does, in half of the time: the decoder can be
// interrupted anywhere.
type cursor struct {
	name  []byte         // of the member in hand, without quotes
	value jsontext.Value // in hand; never empty after next returned true

	src   []byte
	at    int // in src: behind what was walked
	named bool
	begun bool // a member or element was taken in hand
	err   error
}

var (
	errOtherKind = errors.New("not a JSON object")
	errNotJSON   = errors.New("not JSON")
)

// enter begins to walk b, whose first token must be open.
func (c *cursor) enter(b []byte, open jsontext.Kind) {
	*c = cursor{src: b, at: skipSpace(b, 0), named: open == jsontext.KindBeginObject}
	switch {
	case c.at < len(b) && jsontext.Kind(b[c.at]) == open:
		c.at++
	case c.at < len(b) && beginsValue(b, c.at):
		c.err = errOtherKind
	default:
		c.err = errNotJSON
	}
}

// next takes the next member or element in hand. It returns false at the end, and at a fault.
func (c *cursor) next() bool {
	if c.err != nil {
		return false
	}
	i := skipSpace(c.src, c.at)
	if c.ends(i) {
		return false
	}
	if c.begun {
		if i == len(c.src) || c.src[i] != ',' {
			return c.fault()
		}
		i = skipSpace(c.src, i+1)
	}
	c.begun = true
	if c.named {
		end := afterString(c.src, i)
		if end < 0 {
			return c.fault()
		}
		c.name = unquoted(c.src[i:end])
		if i = skipSpace(c.src, end); i == len(c.src) || c.src[i] != ':' {
			return c.fault()
		}
		i = skipSpace(c.src, i+1)
	}
	end := afterValue(c.src, i, 1)
	if end < 0 {
		return c.fault()
	}
	c.value, c.at = c.src[i:end:end], end
	return true
}

// ends tells whether the bracket that closes stands at i.
func (c *cursor) ends(i int) bool {
	closing := byte(']')
	if c.named {
		closing = '}'
	}
	return i < len(c.src) && c.src[i] == closing
}

func (c *cursor) fault() bool {
	c.err = errNotJSON
	return false
}

// leave ends the walk, lets go of what was walked, and returns the first fault. Something behind the end is one.
func (c *cursor) leave() error {
	err := c.err
	if err == nil {
		i := skipSpace(c.src, c.at)
		if !c.ends(i) || skipSpace(c.src, i+1) != len(c.src) {
			err = errNotJSON
		}
	}
	*c = cursor{}
	return err
}
