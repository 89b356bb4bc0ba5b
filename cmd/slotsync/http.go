package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// mostConns is how many connections there are at a time. Those of Redis and Kafka come out of the same limit of the
// system, and an address that is open to a network has callers that keep theirs for nothing.
const mostConns = 64

// server serves HTTP until Close.
type server struct {
	http  *http.Server
	ended chan struct{}
}

// serve starts to listen at addr, a host:port. That it cannot is an error at once, and not one for the log of a
// worker that nobody can ask for its health.
func serve(addr string, handler http.Handler, log *slog.Logger) (*server, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serve HTTP_ADDR: %w", err)
	}
	if at, ok := listener.Addr().(*net.TCPAddr); ok && at.IP.IsLoopback() {
		own, _, _ := net.SplitHostPort(addr)
		handler = loopbackOnly(own, handler)
	}
	crowd := &crowd{since: map[net.Conn]time.Time{}}
	s := &server{ended: make(chan struct{}), http: &http.Server{
		Handler:           lookOnly(handler),
		ConnState:         crowd.changed,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       10 * time.Second, // a page asks every two
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // of what others send wrongly
	}}
	log.Info("serving health and a page", "addr", listener.Addr().String())
	go func() {
		defer close(s.ended)
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("health is not served any more", "err", err)
		}
	}()
	return s, nil
}

// Close lets answers under way end, which are short, and waits for no client that is slow.
func (s *server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second/4)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close() // who is that slow is not worth a failed stop
	}
	<-s.ended
	return err
}

// crowd are the connections of a server. Where there are too many, the one that has stood still for longest makes room:
// to let new ones wait would keep out a probe, which then has the worker killed.
type crowd struct {
	mu    sync.Mutex             // guards since
	since map[net.Conn]time.Time // when it was opened, began to ask, or got its answer
}

// changed is http.Server.ConnState.
func (c *crowd) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(c.since, conn)
		return
	}
	c.since[conn] = time.Now()
	if len(c.since) <= mostConns {
		return
	}
	still := conn
	for other, since := range c.since {
		if since.Before(c.since[still]) {
			still = other
		}
	}
	delete(c.since, still)
	_ = still.Close() // the server learns of it as of any end
}

// lookOnly answers nothing but GET and HEAD, and sends with all answers what keeps a browser from doing more with them
// than to show them.
func lookOnly(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD: nothing can be changed here", http.StatusMethodNotAllowed)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// loopbackOnly answers those who ask a server on loopback by an address, as localhost, or by its own name. A web page elsewhere whose name
// was made to lead to this machine, so that its scripts may read what is served here, asks by that name.
func loopbackOnly(own string, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = strings.Trim(r.Host, "[]")
		}
		if host != "localhost" && (host != own || own == "") && net.ParseIP(host) == nil {
			http.Error(w, "this worker listens on loopback and answers to localhost and 127.0.0.1 only; a proxy has to ask by one of these", http.StatusMisdirectedRequest)
			return
		}
		handler.ServeHTTP(w, r)
	})
}
