package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

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
	s := &server{ended: make(chan struct{}), http: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // of what others send wrongly
	}}
	log.Info("serving health", "addr", listener.Addr().String())
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
