//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pass is what one pass took.
type pass struct {
	took      time.Duration // by the worker's report
	published int
	peak      int64         // bytes of memory that the worker had resident at most
	worker    time.Duration // CPU of the whole process, start and end included
	api       figures
	broker    figures
	redis     redisFigures
	others    float64 // share of all processors that other processes of the machine took meanwhile
}

// redisFigures are what Redis counts.
type redisFigures struct {
	CPU      time.Duration
	Commands int64 // those in scripts included
	In, Out  int64 // bytes
}

// servers is the CPU that all servers took.
func (p *pass) servers() time.Duration { return p.api.CPU + p.broker.CPU + p.redis.CPU }

// speed is shifts a second.
func (p *pass) speed(c scenario) float64 { return float64(c.shifts) / p.took.Seconds() }

// print writes the pass as benchmarks are written, for benchstat. Of two workers, each line tells which it was.
func (p *pass) print(w io.Writer, c scenario, pairs bool, which int) {
	name := c.String()
	if pairs {
		name += "/worker=" + []string{"this", "other"}[which]
	}
	perShift := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(c.shifts) }
	fmt.Fprintf(w, "Benchmark%s-%d\t1\t%d ns/op\t%.0f shifts/s\t%.0f worker-ns/shift\t%.0f redis-ns/shift\t%.0f broker-ns/shift\t%.0f api-ns/shift\t%.1f peak-MB"+
		"\t%.0f others-%%\t%d redis-cmds\t%.0f redis-B/shift\t%d api-calls\t%d produce-reqs\n",
		name, runtime.NumCPU(), p.took.Nanoseconds(), p.speed(c), perShift(p.worker), perShift(p.redis.CPU), perShift(p.broker.CPU), perShift(p.api.CPU),
		float64(p.peak)/(1<<20), 100*p.others, p.redis.Commands, float64(p.redis.In+p.redis.Out)/float64(c.shifts), p.api.Requests, p.broker.Requests)
}

// pass runs the worker for a pass.
func (w *world) pass(ctx context.Context, worker string, c scenario) (p pass, err error) {
	before, err := w.figures(ctx)
	if err != nil {
		return p, err
	}
	busy, own, began := busyTime(), usedBy(syscall.RUSAGE_SELF), time.Now()
	cmd := exec.CommandContext(ctx, worker, "--once")
	cmd.Env = w.env
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		return p, fmt.Errorf("start the worker: %w", err)
	}
	ended, watched := make(chan struct{}), make(chan int64)
	go func() { watched <- watchMemory(cmd.Process.Pid, ended) }()
	err = cmd.Wait()
	close(ended)
	p.peak = <-watched
	if err != nil {
		return p, fmt.Errorf("the worker ended with %w\n%s", err, log.String())
	}
	var last struct {
		Report struct {
			TookMS    float64 `json:"took_ms"`
			Published int     `json:"published"`
		} `json:"report"`
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Report.TookMS == 0 {
		return p, fmt.Errorf("the worker's last line is no report: %w\n%s", err, log.String())
	}
	busy, own, wall := busyTime()-busy, usedBy(syscall.RUSAGE_SELF)-own, time.Since(began)
	p.took, p.published = time.Duration(last.Report.TookMS*float64(time.Millisecond)), last.Report.Published
	p.worker = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	after, err := w.figures(ctx)
	if err != nil {
		return p, err
	}
	p.api, p.broker, p.redis = since(after.api, before.api), since(after.broker, before.broker), redisFigures{
		CPU:      after.redis.CPU - before.redis.CPU,
		Commands: after.redis.Commands - before.redis.Commands,
		In:       after.redis.In - before.redis.In,
		Out:      after.redis.Out - before.redis.Out,
	}
	p.others = max(0, (busy-own-p.worker-p.servers()).Seconds()/(wall.Seconds()*float64(runtime.NumCPU())))
	return p, nil
}

func since(after, before figures) figures {
	return figures{after.CPU - before.CPU, after.Requests - before.Requests, after.Bytes - before.Bytes}
}

// figures asks all servers.
func (w *world) figures(ctx context.Context) (p pass, err error) {
	var apiErr, brokerErr, redisErr error
	p.api, apiErr = w.api.figures(ctx)
	p.broker, brokerErr = w.broker.figures(ctx)
	p.redis, redisErr = w.redisFigures(ctx)
	return p, errors.Join(apiErr, brokerErr, redisErr)
}

func (w *world) redisFigures(ctx context.Context) (f redisFigures, err error) {
	client := w.redis.Client()
	defer client.Close()
	text, err := client.Info(ctx, "everything").Result()
	if err != nil {
		return f, fmt.Errorf("info: %w", err)
	}
	seconds := func(s string) time.Duration {
		v, _ := strconv.ParseFloat(s, 64)
		return time.Duration(v * float64(time.Second))
	}
	number := func(s string) int64 {
		v, _ := strconv.ParseInt(s, 10, 64)
		return v
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "used_cpu_sys", "used_cpu_user":
			f.CPU += seconds(value)
		case "total_commands_processed":
			f.Commands = number(value)
		case "total_net_input_bytes":
			f.In = number(value)
		case "total_net_output_bytes":
			f.Out = number(value)
		}
	}
	return f, nil
}

// busyTime is the time that all processors have worked since the machine began.
func busyTime() (busy time.Duration) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	const tick = 10 * time.Millisecond // what the kernel counts in, for whoever reads this file
	for i, field := range strings.Fields(line) {
		switch i {
		case 1, 2, 3, 6, 7, 8: // user, nice, system, interrupts, and what another machine on the same processors took
			if n, err := strconv.ParseInt(field, 10, 64); err == nil {
				busy += time.Duration(n) * tick
			}
		}
	}
	return busy
}

// watchMemory returns the largest resident size of a process, asked for every 5 ms until it has ended. What the kernel
// tells of a child at its end would not do: that counts what it shared with this process before it began.
func watchMemory(pid int, ended <-chan struct{}) (peak int64) {
	tick := time.NewTicker(5 * time.Millisecond)
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
			if kb, err := strconv.ParseInt(fields[0], 10, 64); err == nil {
				peak = max(peak, kb<<10)
			}
		}
	}
}
