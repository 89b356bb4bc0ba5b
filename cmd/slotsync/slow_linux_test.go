package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// detour is a way to a server that takes its time.
type detour struct {
	Addr  string
	bytes atomic.Int64 // that came back
	trips atomic.Int64 // how often something was sent there, at least

	latency time.Duration // there
	rate    int64         // bytes a second, back; 0: as they come
}

// newDetour returns such a way, until the test ends.
func newDetour(t *testing.T, to string, latency time.Duration, rate int64) *detour {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &detour{Addr: l.Addr().String(), latency: latency, rate: rate}
	var wait sync.WaitGroup
	wait.Go(func() {
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
			wait.Go(func() { w.there(there, here) })
			wait.Go(func() { w.back(here, there) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wait.Wait() // the program has ended, and its connections with it
	})
	return w
}

// there carries what is sent, each piece as much later.
func (w *detour) there(to, from net.Conn) {
	type piece struct {
		bytes []byte
		due   time.Time
	}
	pieces := make(chan piece, 1024)
	var wait sync.WaitGroup
	wait.Go(func() {
		for p := range pieces {
			<-time.After(time.Until(p.due))
			_, _ = to.Write(p.bytes) // what fails shows in the answer
		}
		_ = to.Close()
	})
	for {
		b := make([]byte, 64<<10)
		n, err := from.Read(b)
		if n > 0 {
			w.trips.Add(1)
			pieces <- piece{b[:n], time.Now().Add(w.latency)}
		}
		if err != nil {
			break
		}
	}
	close(pieces)
	wait.Wait()
}

// back carries the answers, at the rate.
func (w *detour) back(to, from net.Conn) {
	b := make([]byte, 8<<10)
	began, carried := time.Now(), int64(0)
	for {
		n, err := from.Read(b)
		w.bytes.Add(int64(n))
		if carried += int64(n); w.rate > 0 {
			<-time.After(time.Until(began.Add(w.over(carried))))
		}
		if _, werr := to.Write(b[:n]); err != nil || werr != nil {
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}

// over is how long so many bytes take.
func (w *detour) over(bytes int64) time.Duration {
	return time.Duration(bytes) * time.Second / time.Duration(w.rate)
}

// Slow servers make a pass as much slower as they are, and nothing else: nothing is given up, and no more is held.
func TestSlowServersMakeAPassSlowAndNothingElse(t *testing.T) {
	const shifts, batch = 3000, 500
	batches := time.Duration(shifts / batch)
	quick := timedPass(t, start(t, world.Options{Shifts: shifts, Partitions: 3}), nil)

	for _, c := range []struct {
		name string
		// slow makes a server slow and returns the settings by which it is found, and how much longer a pass takes then.
		slow func(t *testing.T, w *world.World) (settings env, longer func() (least, most time.Duration))
	}{
		{"Redis at 5 ms", func(t *testing.T, w *world.World) (env, func() (time.Duration, time.Duration)) {
			const latency = 5 * time.Millisecond
			l := newDetour(t, w.Redis.Addr(), latency, 0)
			return env{"REDIS_HOST": "redis://" + l.Addr}, func() (time.Duration, time.Duration) {
				return batches * latency, time.Duration(l.trips.Load()) * latency // while one batch is looked up another is remembered
			}
		}},
		{"Kafka at 50 ms", func(t *testing.T, w *world.World) (env, func() (time.Duration, time.Duration)) {
			const latency = 50 * time.Millisecond
			var asked atomic.Int64
			w.Kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
				w.Kafka.KeepControl()
				asked.Add(1)
				w.Kafka.SleepControl(func() { <-time.After(latency) })
				return nil, nil, false
			})
			return nil, func() (time.Duration, time.Duration) {
				return batches * latency, time.Duration(asked.Load()) * latency // at best all partitions of a batch at once
			}
		}},
		{"the API at 200 kB/s", func(t *testing.T, w *world.World) (env, func() (time.Duration, time.Duration)) {
			l := newDetour(t, strings.TrimPrefix(w.APIURL, "http://"), 0, 200_000)
			return env{"WIW_URL": "http://" + l.Addr}, func() (time.Duration, time.Duration) {
				return l.over(l.bytes.Load()) * 9 / 10, l.over(l.bytes.Load())
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := start(t, world.Options{Shifts: shifts, Partitions: 3})
			settings, longer := c.slow(t, w)
			slow := timedPass(t, w, settings)
			least, most := longer()
			const slack = 2 * time.Second // machines are busy
			if slow.took < least || slow.took > quick.took+most+slack {
				t.Errorf("a pass took %s, want %s to %s more than %s", slow.took, least, most, quick.took)
			}
			const more = 12 << 20
			if slow.peak > quick.peak+more {
				t.Errorf("it took %d bytes of memory, and %d with quick servers", slow.peak, quick.peak)
			}
			t.Logf("%s instead of %s, the arithmetic says %s to %s more; %d MB instead of %d", slow.took, quick.took, least, most, slow.peak>>20, quick.peak>>20)
			inStep(t, w)
		})
	}
}

// timed is a pass that published everything and met no trouble.
type timed struct {
	took time.Duration
	peak int64 // bytes
}

func timedPass(t *testing.T, w *world.World, settings env) timed {
	t.Helper()
	p := launchIn(t, w, settings, "--once")
	var peak int64
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-p.ended:
			running = false
		case <-tick.C:
			peak = max(peak, heldBy(p.cmd.Process.Pid))
		}
	}
	if code := p.exit(t, time.Second); code != 0 || strings.Contains(p.String(), `"level":"WARN"`) || strings.Contains(p.String(), `"level":"ERROR"`) {
		t.Fatalf("exit %d:\n%s", code, p)
	}
	lines := strings.Split(strings.TrimSpace(p.String()), "\n")
	var last struct {
		Report struct {
			TookMS    int64 `json:"took_ms"`
			Published int   `json:"published"`
			Fetched   int   `json:"fetched"`
		} `json:"report"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Report.Published == 0 || last.Report.Published != last.Report.Fetched {
		t.Fatal(errors.Join(err, fmt.Errorf("not all was published:\n%s", p)))
	}
	return timed{time.Duration(last.Report.TookMS) * time.Millisecond, peak}
}

// heldBy returns the bytes of memory that a process holds beside what it reads from files, which is what the machine has
// in memory anyway; 0 once it has ended.
func heldBy(pid int) (bytes int64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, held, _ := strings.Cut(string(status), "RssAnon:")
	_, _ = fmt.Sscan(held, &bytes) // in kB
	return bytes << 10
}
