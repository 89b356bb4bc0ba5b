package wiw

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/zeebo/xxh3"
)

// translation is the version of Parse. It goes into the hash of a shift's bytes, so that a Parse that reads the same
// bytes differently gets to see them again. Raise it with every change of what Parse returns.
const translation = 1

// answer reads the body of one answer, and decides whether to believe it.
type answer struct {
	question
	body  *capped
	add   func(id int64, hash uint64, raw []byte) error
	notes *notes
	token string

	dec     *jsontext.Decoder
	listed  bool // "shifts", or "shift", was there
	echoed  int  // how many of "start" and "end" were there
	refused *StatusError
	code    string
}

// ErrOtherWindow says that the API answered for another window than it was asked for.
var ErrOtherWindow = errors.New("is for another window")

// bad is a fault that another attempt would meet again.
func bad(format string, args ...any) *failure {
	return &failure{verdict: final, err: fmt.Errorf(format, args...)}
}

// broken is a fault of reading or of grammar, both of which may pass. It quotes nothing of the answer.
func (a *answer) broken(err error) *failure {
	switch {
	case errors.Is(err, errTooLong), errors.Is(err, errTooLarge):
		return bad("answer: %w", err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &failure{verdict: again, err: fmt.Errorf("answer: cut off after %d bytes: %w", a.body.read, io.ErrUnexpectedEOF)}
	case a.body.err != nil && a.body.err != io.EOF:
		return &failure{verdict: again, err: fmt.Errorf("answer: after %d bytes: %w", a.body.read, a.body.err)}
	}
	return &failure{verdict: again, err: fmt.Errorf("answer: not JSON near byte %d", a.dec.InputOffset())}
}

func (a *answer) read() *failure {
	a.dec = newDecoder(a.body)
	if kind := a.dec.PeekKind(); kind != jsontext.KindBeginObject {
		if _, err := a.dec.ReadToken(); err != nil {
			return a.broken(err)
		}
		return &failure{verdict: again, err: errors.New("answer: not a JSON object")}
	}
	if _, err := a.dec.ReadToken(); err != nil {
		return a.broken(err)
	}
	for a.dec.PeekKind() != jsontext.KindEndObject {
		a.body.mark = a.dec.InputOffset()
		name, err := a.dec.ReadValue()
		if err != nil {
			return a.orRefusal(a.broken(err))
		}
		if f := a.member(string(unquoted(name))); f != nil {
			return a.orRefusal(f)
		}
	}
	if _, err := a.dec.ReadToken(); err != nil {
		return a.orRefusal(a.broken(err))
	}
	if f := a.orRefusal(nil); f != nil {
		return f
	}
	if _, err := a.dec.ReadToken(); err != io.EOF {
		if err == nil {
			return &failure{verdict: again, err: errors.New("answer: goes on behind its end")}
		}
		return a.broken(err)
	}
	switch {
	case !a.listed:
		return bad("answer: no shifts in it")
	case a.echoed < 2 && a.id == 0:
		a.notes.once(NoticeNoEcho, "", "")
	}
	return nil
}

// orRefusal prefers the error that the API told over what went wrong after it.
func (a *answer) orRefusal(f *failure) *failure {
	if a.refused == nil {
		return f
	}
	if a.refused.Code == "" {
		a.refused.Code = a.code
	}
	a.refused.clean(a.token)
	return &failure{verdict: final, err: a.refused}
}

// member reads the value of one member of the answer.
func (a *answer) member(name string) *failure {
	switch {
	case name == "shifts" && a.id == 0:
		return a.shifts()
	case name == "shift" && a.id != 0:
		return a.shift()
	case name == "start" && a.id == 0:
		return a.echo(name, a.window.Start)
	case name == "end" && a.id == 0:
		return a.echo(name, a.window.End)
	case name == "error":
		v, err := a.value()
		if err != nil {
			return a.broken(err)
		}
		if truthy(v) {
			e := &StatusError{Status: http.StatusOK}
			e.Code, e.Message = errorText(v)
			a.refused = e // the code may follow
		}
	case name == "code":
		v, err := a.value()
		if err != nil {
			return a.broken(err)
		}
		a.code = text(v)
	default:
		if err := a.skip(); err != nil {
			return a.broken(err)
		}
	}
	return nil
}

func (a *answer) shifts() *failure {
	switch {
	case a.refused != nil:
		return a.orRefusal(nil)
	case a.listed:
		return bad("answer: shifts twice")
	case a.dec.PeekKind() != jsontext.KindBeginArray:
		if err := a.skip(); err != nil {
			return a.broken(err)
		}
		return bad("answer: shifts is not an array")
	}
	a.listed = true
	if _, err := a.dec.ReadToken(); err != nil {
		return a.broken(err)
	}
	for a.dec.PeekKind() != jsontext.KindEndArray {
		raw, err := a.value()
		if err != nil {
			return a.broken(err)
		}
		if err := a.add(idOf(raw), xxh3.HashSeed(raw, translation), raw); err != nil {
			return &failure{verdict: stopped, err: err}
		}
	}
	if _, err := a.dec.ReadToken(); err != nil {
		return a.broken(err)
	}
	return nil
}

// shift reads the one shift that was asked for.
func (a *answer) shift() *failure {
	switch {
	case a.refused != nil:
		return a.orRefusal(nil)
	case a.listed:
		return bad("answer: shift twice")
	}
	a.listed = true
	raw, err := a.value()
	if err != nil {
		return a.broken(err)
	}
	if id := idOf(raw); id != a.id {
		return bad("answer: is for another shift: asked %d, got %d", a.id, id)
	}
	if err := a.add(a.id, xxh3.HashSeed(raw, translation), raw); err != nil {
		return &failure{verdict: stopped, err: err}
	}
	return nil
}

// echo compares what the API says it answered with what it was asked. A window that is too long is cut silently, and
// then what is missing behind the cut is not missing in truth.
func (a *answer) echo(name string, asked time.Time) *failure {
	v, err := a.value()
	if err != nil {
		return a.broken(err)
	}
	told, form := parseDate(v)
	switch form {
	case noDate:
		return nil
	case unknownDate:
		return bad("answer: its %s is in an unknown form (%s)", name, shape(v))
	}
	a.echoed++
	const tolerance = 5 * time.Second
	if told.Sub(asked).Abs() > tolerance {
		return bad("answer: %w: %s was %s, asked %s",
			ErrOtherWindow, name, told.Format(time.RFC3339), asked.Format(time.RFC3339))
	}
	return nil
}

func (a *answer) value() (jsontext.Value, error) {
	a.body.mark = a.dec.InputOffset()
	return a.dec.ReadValue()
}

// skip passes over a value of any size, token by token: people and places, which are not ours to keep.
func (a *answer) skip() error {
	depth := a.dec.StackDepth()
	for {
		a.body.mark = a.dec.InputOffset()
		if _, err := a.dec.ReadToken(); err != nil {
			return err
		}
		if a.dec.StackDepth() <= depth {
			return nil
		}
	}
}
