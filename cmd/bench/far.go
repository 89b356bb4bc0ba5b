//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// far is a way to a server that takes a while, on which everything arrives so much later, in its order.
type far struct {
	l     net.Listener
	to    string
	delay time.Duration // each way
	wait  sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

// newFar returns such a way, until Close.
func newFar(to string, delay time.Duration) (*far, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("put %s far away: %w", to, err)
	}
	f := &far{l: l, to: to, delay: delay}
	f.wait.Go(func() {
		for {
			here, err := l.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", to)
			if err != nil {
				_ = here.Close()
				continue
			}
			f.mu.Lock()
			f.conns = append(f.conns, here, there)
			f.mu.Unlock()
			f.wait.Go(func() { f.carry(there, here) })
			f.wait.Go(func() { f.carry(here, there) })
		}
	})
	return f, nil
}

// Addr is where the way begins, host:port.
func (f *far) Addr() string { return f.l.Addr().String() }

// Close ends all that is under way.
func (f *far) Close() error {
	err := f.l.Close()
	f.mu.Lock()
	for _, c := range f.conns {
		err = errors.Join(err, ignoreClosed(c.Close()))
	}
	f.mu.Unlock()
	f.wait.Wait()
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// parcel is some bytes and when they are to arrive.
type parcel struct {
	bytes []byte
	due   time.Time
}

// carry brings what comes from one end to the other.
func (f *far) carry(to, from net.Conn) {
	parcels := make(chan parcel, 1024)
	var wait sync.WaitGroup
	wait.Go(func() {
		// Timers are a millisecond coarse while a program has nothing else to do, which is too coarse for this.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for p := range parcels {
			if left := time.Until(p.due); left > 0 {
				rest := syscall.NsecToTimespec(int64(left))
				_ = syscall.Nanosleep(&rest, nil)
			}
			if _, err := to.Write(p.bytes); err != nil {
				_ = from.Close()
			}
		}
		_ = to.Close()
	})
	for {
		b := make([]byte, 64<<10)
		n, err := from.Read(b)
		if n > 0 {
			parcels <- parcel{b[:n], time.Now().Add(f.delay)}
		}
		if err != nil && !errors.Is(err, io.ErrShortBuffer) {
			break
		}
	}
	close(parcels)
	wait.Wait()
}
