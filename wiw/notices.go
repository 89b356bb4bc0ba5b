package wiw

import (
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Notice is something about the API that an operator should hear of, once for each client.
type Notice struct {
	Text  string // always the same for the same kind of notice
	Field string // what it is about; may be empty
	Form  string // how a value looked, with letters as a and digits as 9; may be empty
}

// notes keeps notices from being told twice.
type notes struct {
	tell func(Notice)
	date func() // called for each one in an unknown form

	mu   sync.Mutex // guards told
	told map[Notice]bool
}

// What is remembered as told is bounded, since its names come from outside. Beyond it nothing more is told.
const maxTold = 200

func (n *notes) once(text, field, form string) {
	notice := Notice{Text: text, Field: field}
	n.mu.Lock()
	news := !n.told[notice] && len(n.told) < maxTold
	if news {
		if n.told == nil {
			n.told = make(map[Notice]bool)
		}
		n.told[notice] = true
	}
	n.mu.Unlock()
	if news && n.tell != nil {
		notice.Form = form
		n.tell(notice)
	}
}

// unknownField notes a field that Parse does not know. Its name comes from outside.
func (n *notes) unknownField(within string, name []byte) {
	n.once("the API sends a field that is not known here; it is ignored", within+tame(name), "")
}

func (n *notes) unknownDate(field string, v jsontext.Value) {
	if n.date != nil {
		n.date()
	}
	n.once("the API sends a date in a form that is not known here; it is read as no date", field, shape(v))
}

// shape returns how a value looks without what it says.
func shape(v jsontext.Value) string {
	b := append([]byte(nil), v[:min(len(v), 40)]...)
	for i, c := range b {
		switch {
		case '0' <= c && c <= '9':
			b[i] = '9'
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			b[i] = 'a'
		case c < ' ' || c > '~':
			b[i] = '?'
		}
	}
	return string(b)
}

// tame returns a name that can stand in a log.
func tame(name []byte) string {
	b := append([]byte(nil), name[:min(len(name), 60)]...)
	for i, c := range b {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c == '-', c == '.':
		default:
			b[i] = '?'
		}
	}
	return string(b)
}
