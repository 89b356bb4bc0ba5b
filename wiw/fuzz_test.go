package wiw_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// FuzzAnswer: whatever the API says is an error or shifts that hold what they must; and never a panic. What is
// believed is JSON to the standard library too.
func FuzzAnswer(f *testing.F) {
	a := wiwtest.Answer{Start: month.Start, End: month.End}
	for i := range 5 {
		s, sh := wiwtest.Made(1, i, month.Start, month.End)
		a.Shifts = append(a.Shifts, sh.Append(nil, &s, time.UTC))
	}
	f.Add(a.JSON())
	for _, s := range []string{
		`{"shifts":[]}`, `{"shifts":[{}, {"id":1},null,[],"\ud800"],"error":[],"error":0}`, `[]`, ``, `{"shifts":[{"id":"\u0031"}]} `,
		`{"start":"","end":0,"shifts":[{"i\u0064":1,"id":2}]}`, `{"error":{"code":{}},"code":[]}`, "{\"shifts\":[{\"id\\\":1}]}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		synctest.Test(t, func(t *testing.T) {
			client := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }), wiw.Config{})
			err := client.Read(context.Background(), month, func(id int64, _ uint64, raw []byte) error {
				if id < 0 {
					t.Errorf("got id %d", id)
				}
				var s shiftsync.Shift
				if err := client.Parse(raw, &s); err != nil {
					return nil
				}
				if s.ID != id || s.ID <= 0 || s.StartTime.IsZero() || s.EndTime.IsZero() {
					t.Errorf("got id %d, then %+v", id, s)
				}
				for _, at := range []time.Time{s.StartTime, s.EndTime, s.CreatedAt, s.UpdatedAt} {
					if at.Location() != time.UTC || at.Year() < 1 || at.Year() > 9999 {
						t.Errorf("got %v", at)
					}
				}
				return nil
			})
			if err == nil && !json.Valid(body) {
				t.Errorf("believed %q", body)
			}
		})
	})
}

// FuzzWalk: what Parse walks over is what the library does, and where the library finds a fault so does Parse.
func FuzzWalk(f *testing.F) {
	for _, s := range []string{
		``, ` `, `{`, `}`, `{}`, `[]`, ` { } `, `[[]]`, `[{}]`, `{"a":1}`, `{"a":1,}`, `{"a":1 "b":2}`, `{"a" 1}`, `{"a":}`, `{a:1}`, `{"a":1}x`, `{"a":1}{}`, `{,}`,
		`[1,2]`, `[1,]`, `[,1]`, `[1 2]`, `[1]]`, `[-0,0.5,1e5,1E+5,1e-05,-1.25e2]`, `[01]`, `[-]`, `[1.]`, `[.5]`, `[1e]`, `[1e+]`, `[+1]`, `[--1]`, `[0x1]`,
		`[true,false,null]`, `[tru]`, `[nulL]`, `[truee]`, `true`, `tru`, `12`, `"text"`, `"te`, `{"a":[{"b":[1,{"c":"}]"}]}]}`, `{"a":[}`, `[{]`, `[[`,
		`["\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00"]`, `["\ud800"]`, `["\u12"]`, `["\u12g4"]`, `["\x"]`, `["\`, "[\"a\tb\"]", "[\"\x00\"]", "[\"12345678\x1f\"]", "[\"\xff\xfe\"]", "[\"\x7f\x80\"]",
		`["1234567\"890"]`, `["123456789012345\\"]`, `["1234567]`, `{"\u0061":1,"a":2}`, "{\"a\":\t1\r\n}", "[1]\x00", strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001),
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, object bool) {
		got, gotWhole := wiw.Walk(b, object)
		want, wantWhole := libraryWalk(b, object)
		if gotWhole != wantWhole || !slices.Equal(got, want) {
			t.Errorf("%q: got %q and whole %v, the library %q and %v", b, got, gotWhole, want, wantWhole)
		}
	})
}

func libraryWalk(b []byte, object bool) (parts []string, whole bool) {
	dec := jsontext.NewDecoder(bytes.NewReader(b), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	open := jsontext.KindBeginArray
	if object {
		open = jsontext.KindBeginObject
	}
	if dec.PeekKind() != open {
		return nil, false
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, false
	}
	for dec.PeekKind() != jsontext.KindEndObject && dec.PeekKind() != jsontext.KindEndArray {
		var name string
		if object {
			quoted, err := dec.ReadValue()
			if err != nil {
				return parts, false
			}
			content, _ := jsontext.AppendUnquote(nil, quoted) // the error is about bad UTF-8
			if bytes.IndexByte(quoted, '\\') < 0 {
				content = quoted[1 : len(quoted)-1]
			}
			name = string(content)
		}
		value, err := dec.ReadValue()
		if err != nil {
			return parts, false
		}
		if object {
			parts = append(parts, name)
		}
		parts = append(parts, string(value))
	}
	if _, err := dec.ReadToken(); err != nil {
		return parts, false
	}
	_, err := dec.ReadToken()
	return parts, err == io.EOF
}

// FuzzSpelling: a shift written in another order, with other white space, in another zone and with flags and numbers
// in another of their spellings is the same shift.
func FuzzSpelling(f *testing.F) {
	client, err := wiw.New(wiw.Config{Token: wiw.StaticToken("t")})
	if err != nil {
		f.Fatal(err)
	}
	for i := range uint64(40) {
		f.Add(i, i*i)
	}
	f.Fuzz(func(t *testing.T, seed, how uint64) {
		want, sh := wiwtest.Made(seed, int(seed%100), month.Start, month.End)
		raw := sh.Append(nil, &want, time.UTC)
		r := rand.New(rand.NewPCG(how, 3))
		var members map[string]json.RawMessage // whose order is random
		if err := json.Unmarshal(raw, &members); err != nil {
			t.Fatalf("%v in %s", err, raw)
		}
		var b bytes.Buffer
		space := func() { b.WriteString([]string{"", " ", "\n\t", "\r\n "}[r.IntN(4)]) }
		b.WriteByte('{')
		for name, v := range members {
			if b.Len() > 1 && b.Bytes()[b.Len()-1] != '{' {
				b.WriteByte(',')
			}
			space()
			b.WriteString(`"` + name + `"`)
			space()
			b.WriteByte(':')
			space()
			b.Write(respell(r, v))
			space()
		}
		b.WriteByte('}')
		var got shiftsync.Shift
		if err := client.Parse(b.Bytes(), &got); err != nil {
			t.Fatalf("%v in %s", err, b.Bytes())
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("of %s:\n got %+v\nwant %+v", b.Bytes(), got, want)
		}
	})
}

func respell(r *rand.Rand, v json.RawMessage) []byte {
	s := string(v)
	if at, err := time.Parse(`"`+time.RFC1123Z+`"`, s); err == nil {
		at = at.In(time.FixedZone("", (r.IntN(48)-24)*1800))
		layout := []string{time.RFC1123Z, "Mon, _2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04:05 -0700", time.RFC3339}[r.IntN(4)]
		return []byte(`"` + at.Format(layout) + `"`)
	}
	switch {
	case s == "true":
		return []byte([]string{"true", "1", `"1"`, `"true"`}[r.IntN(4)])
	case s == "false":
		return []byte([]string{"false", "0", `"0"`, `"false"`}[r.IntN(4)])
	case strings.Trim(s, "-.0123456789") == "":
		return []byte([]string{s, `"` + s + `"`}[r.IntN(2)])
	}
	return v
}
