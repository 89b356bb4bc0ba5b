package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// here answers on a port that is free until the test ends.
func here(t *testing.T) (addr string) {
	t.Helper()
	s, addr := serving(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "here") }))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return addr
}

// Files that are open are few, and a worker that has none left reaches neither Redis nor Kafka.
func TestACrowdOfIdleCallersKeepsOutNobody(t *testing.T) {
	t.Parallel()
	addr := here(t)
	var crowd []net.Conn
	for i := range 3 * mostConns {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if i%2 == 0 { // an answer was had, and the connection kept
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		crowd = append(crowd, conn)
	}
	probe := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	began := time.Now()
	res, err := probe.Get("http://" + addr + "/healthz")
	if err != nil {
		t.Fatalf("a probe in a crowd: %v", err)
	}
	res.Body.Close()
	closed := 0
	for _, conn := range crowd[:mostConns] { // those who were there first make room, at once
		conn.SetReadDeadline(began.Add(2 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err == nil {
			closed++
		}
	}
	if closed != mostConns {
		t.Errorf("%d of the first %d connections were closed within 2 s, want all", closed, mostConns)
	}
	last := crowd[len(crowd)-1]
	fmt.Fprint(last, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	last.SetReadDeadline(began.Add(5 * time.Second))
	if _, err := io.ReadFull(last, make([]byte, 1)); err != nil {
		t.Errorf("who came last is not answered: %v", err)
	}
}

// A web page whose own name was made to lead to this machine asks by that name.
func TestWhatListensOnLoopbackIsAskedByItsAddressOnly(t *testing.T) {
	t.Parallel()
	addr := here(t)
	for host, want := range map[string]int{addr: http.StatusOK, "evil.example": http.StatusMisdirectedRequest} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("asked as %s: got %d, want %d", host, res.StatusCode, want)
		}
	}
}
