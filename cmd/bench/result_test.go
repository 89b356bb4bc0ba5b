//go:build linux

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// one is a case of 1000 shifts whose servers and stages take 1 ms each.
func one(took time.Duration, others float64) result {
	p := pass{took: took, peak: 40 << 20, worker: 2 * time.Millisecond, api: figures{CPU: time.Millisecond / 2}, others: others}
	p.broker.CPU, p.redis.CPU = time.Millisecond/4, time.Millisecond/4
	slow := p
	slow.took *= 10
	return result{scenario: scenario{1000, "all", "plain"}, passes: [][]pass{{slow, p, p}}, stages: stageTimes{Read: time.Millisecond / 2, Publish: time.Millisecond / 2}}
}

func TestTheCeilingIsAllProcessorsAtWorkOnWhatMustBe(t *testing.T) {
	cores := float64(runtime.NumCPU())
	r := one(4*time.Millisecond, 0.5)
	if got, want := r.ceiling(), cores*1000/0.002; math.Abs(got/want-1) > 1e-9 {
		t.Errorf("ceiling %g shifts a second, want %g", got, want)
	}
	if got, want := r.ratio(), 0.5/cores; math.Abs(got-want) > 1e-9 {
		t.Errorf("ratio %g of the median pass, want %g", got, want)
	}
	if got, want := r.share(), 1/cores; math.Abs(got-want) > 1e-9 {
		t.Errorf("%g of what others left, want %g", got, want)
	}
}

func TestTheGuardOnlyWarns(t *testing.T) {
	for _, c := range []struct {
		took  time.Duration
		warns bool
	}{{time.Second, true}, {2 * time.Millisecond / time.Duration(runtime.NumCPU()), false}} {
		var out strings.Builder
		warnBelow(&out, []result{one(c.took, 0)}, 0.5)
		if got := strings.HasPrefix(out.String(), "::warning::Pass/"); got != c.warns {
			t.Errorf("%s: it says %q", c.took, out.String())
		}
	}
}

func TestThePlotIsWellFormedAndShowsEachCase(t *testing.T) {
	r := one(4*time.Millisecond, 0)
	text := plot([]result{r, r, r})
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(text, "1 k, all, plain"); got != 3 {
		t.Errorf("%d cases are shown, want 3:\n%s", got, text)
	}
}

func TestWhatIsFarArrivesLaterAndInItsOrder(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(conn, conn)
	}()
	const delay = 20 * time.Millisecond
	f, err := newFar(l.Addr().String(), delay)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", f.Addr())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, c := range "in order" {
		if _, err := conn.Write([]byte(string(c))); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, len("in order"))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "in order" {
		t.Errorf("got %q, %v", got, err)
	}
	if took := time.Since(began); took < 2*delay {
		t.Errorf("it was back after %s, before %s", took, 2*delay)
	}
	if err := errors.Join(conn.Close(), f.Close()); err != nil {
		t.Error(err)
	}
	<-echoed
}
