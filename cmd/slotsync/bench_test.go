package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/slotsync/slotsync/cache"
	"github.com/slotsync/slotsync/publish/publishtest"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// BenchmarkPass times one pass of the real program, as a process of its own, over loopback servers in this one. With
// SLOTSYNC_TEST_REDIS, the URL of a real Redis that may be flushed, Redis is that; without, miniredis, which is slower
// and takes seconds to walk a hash of a million.
//
//	shifts/s     of the pass, as the program reports it
//	peak-MB      resident memory of the program
func BenchmarkPass(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "slotsync")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	sizes := []int{10_000, 100_000}
	if os.Getenv("SLOTSYNC_TEST_REDIS") != "" {
		sizes = append(sizes, 1_000_000)
	}
	for _, n := range sizes {
		for _, changed := range []struct {
			name string
			each int // every each-th; 0: none
		}{{"all", 1}, {"none", 0}, {"1%", 100}} {
			b.Run(fmt.Sprintf("%d/%s", n, changed.name), func(b *testing.B) {
				s := newBenchServers(b, n)
				if changed.each != 1 {
					s.pass(b, binary) // so that all is known
				}
				var shifts, seconds, peak float64
				for b.Loop() {
					b.StopTimer()
					switch changed.each {
					case 0:
					case 1:
						s.forget(b)
					default:
						s.api.Change(changed.each)
						s.render(n)
					}
					b.StartTimer()
					took, rss := s.pass(b, binary)
					shifts, seconds, peak = shifts+float64(n), seconds+took, max(peak, rss)
				}
				b.ReportMetric(shifts/seconds, "shifts/s")
				b.ReportMetric(peak, "peak-MB")
			})
		}
	}
}

type benchServers struct {
	api *wiwtest.Bulk
	env []string
	url string // of Redis
}

func newBenchServers(b *testing.B, n int) *benchServers {
	s := &benchServers{api: wiwtest.NewBulk(n), url: os.Getenv("SLOTSYNC_TEST_REDIS")}
	s.render(n)
	if s.url != "" {
		s.url += "/9" // which is flushed
	} else {
		s.url = "redis://" + miniredis.RunT(b).Addr()
	}
	l, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: s.api}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	registry := srfake.New()
	kafka, err := publishtest.StartKafka(publishtest.KafkaOptions{Topic: "shifts", Partitions: 6, Discard: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			b.Error(err)
		}
		kafka.Close()
		registry.Close()
	})
	s.env = append(os.Environ(),
		"WIW_URL=http://"+l.Addr().String(), "WIW_KEY=made-up", "SYNC_DAYS_AHEAD=1", "SYNC_DAYS_PRIOR=0",
		"KAFKA_BROKERS="+strings.Join(kafka.Addrs, ","), "KAFKA_TOPIC_NAME=shifts",
		"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL="+registry.URL(), "REDIS_HOST="+s.url, "LOG_FORMAT=json")
	s.forget(b)
	return s
}

// render prepares what is served, where it fits into memory.
func (s *benchServers) render(n int) {
	if n <= 100_000 {
		s.api.Render()
	}
}

// forget empties Redis.
func (s *benchServers) forget(b *testing.B) {
	if err := flush(b.Context(), s.url); err != nil {
		b.Fatal(err)
	}
}

// pass returns the seconds that a pass took and the program's peak memory in MB.
func (s *benchServers) pass(b *testing.B, binary string) (seconds, peak float64) {
	cmd := exec.CommandContext(b.Context(), binary, "--once")
	cmd.Env = s.env
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	watched := make(chan float64)
	ended := make(chan struct{})
	go func() { watched <- watchMemory(cmd.Process.Pid, ended) }()
	err := cmd.Wait()
	close(ended)
	peak = <-watched
	if err != nil {
		b.Fatalf("%v\n%s", err, log.String())
	}
	var done struct {
		Report struct {
			TookMS float64 `json:"took_ms"`
		} `json:"report"`
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &done); err != nil || done.Report.TookMS == 0 {
		b.Fatalf("the last line is no report: %v\n%s", err, log.String())
	}
	return done.Report.TookMS / 1000, peak
}

// watchMemory returns the largest resident size of a process in MB, asked for every 10 ms until it has ended. What the
// kernel tells of a child at its end would not do: that counts what it shared with this process before it began.
func watchMemory(pid int, ended <-chan struct{}) (peak float64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return peak
		case <-tick.C:
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue // it has just ended
		}
		_, line, _ := strings.Cut(string(status), "VmHWM:")
		if fields := strings.Fields(line); len(fields) > 0 {
			if kb, err := strconv.ParseFloat(fields[0], 64); err == nil {
				peak = max(peak, kb/1024)
			}
		}
	}
}

func flush(ctx context.Context, url string) error {
	client, err := cache.Dial(cache.Config{URL: url})
	if err != nil {
		return err
	}
	return errors.Join(client.FlushDB(ctx).Err(), client.Close())
}
