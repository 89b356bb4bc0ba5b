package wiwtest

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Fault answers a request for a list in the server's place. It may alter the answer and write it, or do worse.
type Fault func(w http.ResponseWriter, r *http.Request, a *Answer)

// Status answers with a status and a body of JSON; headers are names and values in turn.
func Status(status int, body string, headers ...string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ *Answer) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// Throttled answers 429; an empty retryAfter leaves the header out.
func Throttled(retryAfter string) Fault {
	body := `{"error":"Too many requests."}`
	if retryAfter == "" {
		return Status(http.StatusTooManyRequests, body)
	}
	return Status(http.StatusTooManyRequests, body, "Retry-After", retryAfter)
}

// HTML answers with a page, as an edge or a maintenance notice does.
func HTML(status int) Fault {
	return Status(status, "<!DOCTYPE html><html><body>Back soon.</body></html>", "Content-Type", "text/html; charset=utf-8")
}

// Body answers 200 with any body.
func Body(body string) Fault { return Status(http.StatusOK, body) }

// Truncated sends the given share of the answer and then drops the connection.
func Truncated(share float64) Fault {
	return func(w http.ResponseWriter, _ *http.Request, a *Answer) {
		body := a.JSON()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:int(share*float64(len(body)))])
		panic(http.ErrAbortHandler)
	}
}

// CutOff sends the given share of the answer and ends it as if that were all.
func CutOff(share float64) Fault {
	return func(w http.ResponseWriter, _ *http.Request, a *Answer) {
		body := a.JSON()
		send(w, a.Gzip, body[:int(share*float64(len(body)))])
	}
}

// Hang says nothing until the client leaves.
func Hang() Fault {
	return func(_ http.ResponseWriter, r *http.Request, _ *Answer) { <-r.Context().Done() }
}

// HangAfter sends the given share of the answer and then says nothing more.
func HangAfter(share float64) Fault {
	return func(w http.ResponseWriter, r *http.Request, a *Answer) {
		body := a.JSON()
		_, _ = w.Write(body[:int(share*float64(len(body)))])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// Slow sends the answer in the given number of pieces, with a wait before each.
func Slow(pieces int, wait time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, a *Answer) {
		body := a.JSON()
		size := len(body)/pieces + 1
		for len(body) > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-r.Context().Done():
				timer.Stop()
				return
			}
			n := min(size, len(body))
			_, _ = w.Write(body[:n])
			_ = http.NewResponseController(w).Flush()
			body = body[n:]
		}
	}
}

// Altered writes the answer after edit has changed it.
func Altered(edit func(a *Answer)) Fault {
	return func(w http.ResponseWriter, _ *http.Request, a *Answer) {
		edit(a)
		a.Write(w)
	}
}

// NoEcho leaves out which window was answered.
func NoEcho() Fault {
	return Altered(func(a *Answer) { a.Start, a.End = time.Time{}, time.Time{} })
}

// CutEcho claims to have answered no more than the given length.
func CutEcho(length time.Duration) Fault {
	return Altered(func(a *Answer) { a.End = a.Start.Add(length) })
}

// EchoLast tells the window, as it was asked, behind the shifts; cut, if the length is not 0.
func EchoLast(length time.Duration) Fault {
	return Altered(func(a *Answer) {
		a.EchoLast = true
		if length != 0 {
			a.End = a.Start.Add(length)
		}
	})
}

// Duplicates lists the first shift once more at the end.
func Duplicates() Fault {
	return Altered(func(a *Answer) {
		if len(a.Shifts) > 0 {
			a.Shifts = append(a.Shifts, a.Shifts[0])
		}
	})
}

// MissingShifts answers with no array of shifts.
func MissingShifts() Fault { return Replaced(`"shifts":[`, `"shift":[`) }

// ErrorInside puts an error into an otherwise good answer, behind the shifts.
func ErrorInside(text string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, a *Answer) {
		body := bytes.TrimSuffix(a.JSON(), []byte("}"))
		body = appendQuoted(append(body, `,"error":`...), text)
		send(w, a.Gzip, append(body, `,"code":"INTERNAL_ERROR"}`...))
	}
}

// Replaced answers with one piece of text in place of another, wherever it first occurs.
func Replaced(was, now string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, a *Answer) {
		send(w, a.Gzip, bytes.Replace(a.JSON(), []byte(was), []byte(now), 1))
	}
}

// Trailing answers well and goes on.
func Trailing(text string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, a *Answer) {
		send(w, a.Gzip, append(a.JSON(), text...))
	}
}

// InvalidJSON breaks the grammar in the middle of the shifts.
func InvalidJSON() Fault {
	return func(w http.ResponseWriter, _ *http.Request, a *Answer) {
		a.Shifts = append(a.Shifts[:len(a.Shifts)/2:len(a.Shifts)/2], []byte(`{"id":7,"start_time"}`))
		a.Write(w)
	}
}

// Endless begins as an answer does and then repeats a piece of text until the client leaves.
func Endless(begin, again string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ *Answer) {
		w.Header().Set("Content-Type", "application/json")
		_, err := w.Write([]byte(begin))
		piece := []byte(strings.Repeat(again, 1+(32<<10)/len(again)))
		for err == nil && r.Context().Err() == nil {
			_, err = w.Write(piece)
		}
	}
}

// Oversized answers with one more member of that many bytes, none of whose parts is long.
func Oversized(size int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, a *Answer) {
		body := append(bytes.TrimSuffix(a.JSON(), []byte("}")), `,"padding":["`...)
		body = append(body, strings.Repeat(strings.Repeat("x", 1021)+`","`, size/1024)...)
		send(w, a.Gzip, append(body, `"]}`...))
	}
}

// Bomb sends a few kilobytes that unpack to that many bytes.
func Bomb(size int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ *Answer) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		_, _ = z.Write([]byte(`{"users":[0`))
		piece := []byte(strings.Repeat(`,"`+strings.Repeat("0", 1021)+`"`, 32))
		for sent := 0; sent < size; sent += len(piece) {
			if _, err := z.Write(piece); err != nil {
				return
			}
		}
		_, _ = z.Write([]byte(`],"shifts":[]}`))
		_ = z.Close()
	}
}
