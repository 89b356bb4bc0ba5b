//go:build linux

package main

import (
	"io"
	"net"
	"testing"
	"time"
)

// frame is what goes between a worker and a broker: 4 bytes of length, a head of 8, and a body.
func frame(head ...byte) []byte { return append([]byte{0, 0, 0, 10}, append(head, "ab"...)...) }

func TestATapSeesWhatIsOnItsWay(t *testing.T) {
	broker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	f := &flying{}
	tap, err := newTap(broker.Addr().String(), f)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	worker, err := net.Dial("tcp", tap.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close()
	server, err := broker.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	pass := func(from, to net.Conn, b []byte) {
		t.Helper()
		if _, err := from.Write(b); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(b))
		if _, err := io.ReadFull(to, got); err != nil || string(got) != string(b) {
			t.Fatalf("got %x and %v, want %x", got, err, b)
		}
	}
	flies := func(want int) {
		t.Helper()
		if err := until(t.Context(), 10*time.Second, time.Millisecond, func() bool { return f.count() == want }); err != nil {
			t.Fatalf("got %d on their way, want %d", f.count(), want)
		}
	}
	pass(worker, server, frame(0, 3, 0, 9, 0, 0, 0, 1)) // metadata
	flies(0)
	pass(worker, server, frame(0, 0, 0, 9, 0, 0, 0, 2)) // produce
	pass(worker, server, frame(0, 0, 0, 9, 0, 0, 0, 3))
	flies(2)
	pass(server, worker, frame(0, 0, 0, 1, 0, 0, 0, 0))
	flies(2)
	pass(server, worker, frame(0, 0, 0, 2, 0, 0, 0, 0))
	flies(1)
	if err := worker.Close(); err != nil {
		t.Fatal(err)
	}
	flies(0)
	if n, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %d bytes and %v behind what the worker had sent, want its end", n, err)
	}
}

func TestATapEndsTheConnectionWhenTheRoadIsCut(t *testing.T) {
	road, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := road.Close(); err != nil {
		t.Fatal(err)
	}
	tap, err := newTap(road.Addr().String(), &flying{})
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	worker, err := net.Dial("tcp", tap.Addr())
	if err != nil {
		return // it was ended before it was dialled
	}
	defer worker.Close()
	if n, err := worker.Read(make([]byte, 1)); err == nil {
		t.Errorf("got %d bytes, want the end", n)
	}
}
