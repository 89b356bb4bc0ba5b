package wiwtest

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Bulk is a fake API for benchmarks: it answers every window with the same many shifts of about 670 bytes each, made
// from their number as they are written, so that a million need no memory. It does not look at tokens.
type Bulk struct {
	n    int
	age  atomic.Int64
	each atomic.Int64

	plain, zipped []byte // the shifts, if they were rendered beforehand
}

// NewBulk returns a server of n shifts with ids from 3,000,000,000 on.
func NewBulk(n int) *Bulk { return &Bulk{n: n} }

// Render writes the shifts once and keeps them, so that serving costs little: 67 MB for 100,000, and their gzip. It
// must not be called while requests are served.
func (b *Bulk) Render() {
	b.plain = nil
	for i := range b.n {
		if i > 0 {
			b.plain = append(b.plain, ',')
		}
		b.plain = b.Append(b.plain, i)
	}
	var zipped bytes.Buffer
	z, _ := gzip.NewWriterLevel(&zipped, gzip.BestSpeed)
	_, _ = z.Write(b.plain)
	_ = z.Close()
	b.zipped = zipped.Bytes()
}

// Change edits every each-th shift once more; what was rendered is dropped. It must not be called while requests are
// served.
func (b *Bulk) Change(each int) {
	b.each.Store(int64(each))
	b.age.Add(1)
	b.plain, b.zipped = nil, nil
}

// Shift returns the i-th shift.
func (b *Bulk) Shift(i int) shiftsync.Shift {
	start := epoch.Add(time.Duration(i%2880) * 15 * time.Minute)
	s := shiftsync.Shift{
		ID: 3_000_000_000 + int64(i), AccountID: 77000, UserID: 29000000 + int64(i%5000), LocationID: 3999871,
		PositionID: 709909, SiteID: 3530221, StartTime: start, EndTime: start.Add(8 * time.Hour), BreakTime: 0.5,
		Color: "74a611", Published: true, PublishedDate: start.AddDate(0, 0, -9), NotifiedAt: start.AddDate(0, 0, -8),
		Instances: 1, CreatedAt: start.AddDate(0, 0, -10), UpdatedAt: start.AddDate(0, 0, -7), Acknowledged: true,
		AcknowledgedAt: start.AddDate(0, 0, -6), CreatorID: 5526232, ShiftchainKey: "1l6wxcm",
	}
	if i%3 == 0 {
		s.Notes = "Opens the back door"
	}
	if each := b.each.Load(); each > 0 && int64(i)%each == 0 {
		s.UpdatedAt = s.UpdatedAt.Add(time.Duration(b.age.Load()) * time.Second)
		s.Notes = fmt.Sprintf("edited %d", b.age.Load())
	}
	return Shape2018.Fit(s)
}

// Append appends the JSON of the i-th shift.
func (b *Bulk) Append(dst []byte, i int) []byte {
	s := b.Shift(i)
	return Shape2018.Append(dst, &s, zones[0])
}

// ServeHTTP answers GET /2/shifts.
func (b *Bulk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	window, err := windowOf(r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error(), 400)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	a := Answer{Start: window.Start, End: window.End}
	head, tail, _ := bytes.Cut(a.JSON(), []byte("]"))
	zip := acceptsGzip(r)
	switch {
	case zip && b.zipped != nil:
		w.Header().Set("Content-Encoding", "gzip")
		// Members of a gzip file follow each other.
		_, _ = w.Write(zipped(head))
		_, _ = w.Write(b.zipped)
		_, _ = w.Write(zipped(append([]byte("]"), tail...)))
		return
	case b.plain != nil:
		w.Header().Set("Content-Length", strconv.Itoa(len(head)+len(b.plain)+1+len(tail)))
		_, _ = w.Write(head)
		_, _ = w.Write(b.plain)
		_, _ = w.Write(append([]byte("]"), tail...))
		return
	}
	out := func(p []byte) error { _, err := w.Write(p); return err }
	if zip {
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		defer func() { _ = z.Close() }()
		out = func(p []byte) error { _, err := z.Write(p); return err }
	}
	buf := append(make([]byte, 0, 80<<10), head...)
	for i := range b.n {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = b.Append(buf, i)
		if len(buf) > 64<<10 {
			if out(buf) != nil {
				return // the client left
			}
			buf = buf[:0]
		}
	}
	_ = out(append(append(buf, ']'), tail...))
}

func zipped(p []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	_, _ = z.Write(p)
	_ = z.Close()
	return b.Bytes()
}
