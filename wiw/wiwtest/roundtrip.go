package wiwtest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// RoundTrip lets a client talk to the server without a socket, as tests under synctest need it: the handler runs in a
// goroutine that ends when the answer is closed or the request's context is done.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) { return RoundTrip(s, r) }

// RoundTrip answers a request by a handler, without a socket.
func RoundTrip(h http.Handler, r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	body, pipe := io.Pipe()
	w := &response{pipe: pipe, header: http.Header{}, ready: make(chan struct{})}
	context.AfterFunc(ctx, func() { _ = pipe.CloseWithError(context.Canceled) })
	go func() {
		defer func() {
			err := error(nil)
			if p := recover(); p != nil {
				err = io.ErrUnexpectedEOF
				if p != http.ErrAbortHandler {
					err = fmt.Errorf("handler panicked: %v", p)
				}
			}
			if err == nil && ctx.Err() != nil {
				err = context.Canceled // a handler that was cut off has not come to its end
			}
			w.WriteHeader(http.StatusOK)
			_ = pipe.CloseWithError(err)
			cancel()
		}()
		h.ServeHTTP(w, r.Clone(ctx))
	}()
	select {
	case <-w.ready:
	case <-r.Context().Done():
		cancel()
		return nil, context.Cause(r.Context())
	}
	return &http.Response{
		StatusCode: w.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        w.sent,
		Body:          closing{body, cancel},
		ContentLength: -1,
		Request:       r,
	}, nil
}

// response is the handler's side.
type response struct {
	pipe   *io.PipeWriter
	header http.Header
	once   sync.Once
	ready  chan struct{} // closed when status and sent are set
	status int
	sent   http.Header
}

func (w *response) Header() http.Header { return w.header }
func (w *response) Flush()              { w.WriteHeader(http.StatusOK) }

func (w *response) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.ready)
	})
}

func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.pipe.Write(p)
}

type closing struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (c closing) Close() error {
	c.cancel()
	return c.PipeReader.Close()
}
