package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// probeOptions say what to ask a running worker.
type probeOptions struct {
	Ready bool `name:"ready" help:"Ask whether it does its work, and not only whether it is alive."`
}

// probeTimeout is short: whoever runs a probe gives it a second or a few.
const probeTimeout = 2 * time.Second

// probe asks the worker that listens on HTTP_ADDR how it is, prints the answer, and returns an error unless it is well.
func probe(ctx context.Context, cfg *config, stdout io.Writer) error {
	if cfg.HTTP.Addr == "" {
		return &usageError{errors.New("HTTP_ADDR (--http-addr) is not set: give the address that the worker listens on")}
	}
	if _, port, _ := net.SplitHostPort(cfg.HTTP.Addr); port == "0" {
		return &usageError{errors.New("HTTP_ADDR (--http-addr) has port 0, which is any that is free: give the one that the worker's log names")}
	}
	path := "/healthz"
	if cfg.Health.Ready {
		path = "/readyz"
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	address := url.URL{Scheme: "http", Host: reachable(cfg.HTTP.Addr), Path: path}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return fmt.Errorf("ask the worker: %w", err)
	}
	// Not the default transport: it would go through a proxy, if the environment names one.
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("ask the worker at %s: nobody listens there: no worker runs, or HTTP_ADDR is another's", address.Host)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("ask the worker at %s: no answer within %s: it hangs, or is stopped", address.Host, probeTimeout)
	case err != nil:
		return fmt.Errorf("ask the worker at %s: %w", address.Host, err)
	}
	defer res.Body.Close()
	var c condition
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&c); err != nil || c.State == "" {
		return fmt.Errorf("ask the worker at %s: answered %d with something other than its health: is HTTP_ADDR that of another program?", address.Host, res.StatusCode)
	}
	if err := json.NewEncoder(stdout).Encode(c); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	switch {
	case !c.Alive:
		return fmt.Errorf("the worker is not alive: %s", c.Reason)
	case cfg.Health.Ready && !c.Ready:
		return fmt.Errorf("the worker is not ready: %s", c.Reason)
	}
	return nil
}

// reachable returns an address at which a server that listens on addr can be asked from the same machine.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr // cannot be: it was checked when it was read
	}
	switch ip := net.ParseIP(host); {
	case host == "", ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
