//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// apiOptions are those of the API, which answers every window with the same shifts out of a file: sending a file costs
// next to nothing, so that a pass is not measured together with what makes up its shifts.
type apiOptions struct {
	Shifts int    `required:""`
	Gzip   bool   ``
	Dir    string `required:""`
}

// office is the API.
type office struct {
	apiOptions
	counters
	bulk *wiwtest.Bulk

	mu   sync.Mutex // guards file
	file string     // has the shifts, without the brackets around them
}

func (o apiOptions) serve(stdin io.Reader, stdout io.Writer) error {
	off := &office{apiOptions: o, bulk: wiwtest.NewBulk(o.Shifts)}
	if err := off.render(); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2/shifts", off.list)
	mux.HandleFunc("POST /change", func(w http.ResponseWriter, r *http.Request) {
		each, err := strconv.Atoi(r.URL.Query().Get("each"))
		if err == nil && each < 1 {
			err = errors.New("each is below 1")
		}
		if err == nil {
			off.bulk.Change(each)
			err = off.render()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return serveUntilEOF(stdin, stdout, &off.counters, mux, func(addr string) hello {
		return hello{Control: addr, API: "http://" + addr}
	})
}

// render writes the shifts as they are now to a file.
func (o *office) render() (err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	name := filepath.Join(o.Dir, fmt.Sprintf("shifts-%d-%t.json", o.Shifts, o.Gzip))
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	to := bufio.NewWriterSize(f, 1<<20)
	defer func() { err = errors.Join(err, to.Flush()) }()
	var out io.Writer = to
	if o.Gzip {
		z, err := gzip.NewWriterLevel(to, gzip.DefaultCompression)
		if err != nil {
			return err
		}
		defer func() { _ = z.Close() }() // before the flush
		out = z
	}
	buf := make([]byte, 0, 4<<10)
	for i := range o.Shifts {
		buf = buf[:0]
		if i > 0 {
			buf = append(buf, ',')
		}
		if _, err := out.Write(o.bulk.Append(buf, i)); err != nil {
			return err
		}
	}
	o.file = name
	return nil
}

// list answers with all shifts, whatever the window.
func (o *office) list(w http.ResponseWriter, r *http.Request) {
	start, err := time.Parse(time.RFC3339, r.URL.Query().Get("start"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	end, err := time.Parse(time.RFC3339, r.URL.Query().Get("end"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.mu.Lock()
	f, err := os.Open(o.file)
	o.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	a := wiwtest.Answer{Start: start, End: end}
	head, tail, _ := bytes.Cut(a.JSON(), []byte("]"))
	tail = append([]byte("]"), tail...)
	if o.Gzip {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			http.Error(w, "gzip was not asked for", http.StatusNotAcceptable)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		head, tail = member(head), member(tail) // the members of a gzip file follow each other
	}
	size := int64(len(head)) + info.Size() + int64(len(tail))
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	o.requests.Add(1)
	o.bytes.Add(size)
	_, _ = w.Write(head)
	w.(http.Flusher).Flush() // what follows is then sent from the file by the kernel
	_, _ = io.Copy(w, f)
	_, _ = w.Write(tail)
}

// member returns p as a gzip file.
func member(p []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(p) // to memory
	_ = z.Close()
	return b.Bytes()
}
