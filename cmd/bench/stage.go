//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/slotsync/slotsync/cache"
	"github.com/slotsync/slotsync/publish"
	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw"
)

// atOnce is how many shifts a stage takes in hand together, as many as the worker.
const atOnce = 500

// stageOptions say what a process that measures the stages of the worker works with.
type stageOptions struct {
	API      string   `required:""`
	Redis    string   `required:""`
	Registry string   `required:""`
	Brokers  []string `required:""`
	Shifts   int      `required:""`
	Changed  int      // shifts that go through the stages after the lookup
}

// stageTimes is the CPU that each stage took, alone, for all the shifts that go through it.
type stageTimes struct {
	Read     time.Duration // the answer is split, and each shift's bytes hashed
	Lookup   time.Duration
	Encode   time.Duration // what is not known is parsed and made a record
	Intend   time.Duration
	Publish  time.Duration
	Remember time.Duration
}

// sum is the CPU of all stages.
func (s stageTimes) sum() time.Duration {
	return s.Read + s.Lookup + s.Encode + s.Intend + s.Publish + s.Remember
}

// stages has another process measure them, which has done nothing else before.
func (w *world) stages(ctx context.Context, c scenario) (t stageTimes, err error) {
	self, err := os.Executable()
	if err != nil {
		return t, err
	}
	if c.each() == 1 {
		if err := w.forget(ctx); err != nil {
			return t, err
		}
	}
	cmd := exec.CommandContext(ctx, self, "stage", "--api", w.api.API, "--redis", "redis://"+w.redis.Addr, "--registry", w.broker.Registry,
		"--brokers", strings.Join(w.broker.Brokers, ","), "--shifts", fmt.Sprint(c.shifts), "--changed", fmt.Sprint(c.published()))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return t, fmt.Errorf("measure the stages: %w", err)
	}
	return t, json.Unmarshal(out, &t)
}

// measure takes all shifts through one stage after the other, each on its own, with the adapters that the worker has.
func (o stageOptions) measure(ctx context.Context, stdout io.Writer) (err error) {
	var t stageTimes
	client, err := wiw.New(wiw.Config{URL: o.API, Token: wiw.StaticToken("made-up"), Rate: 1e6})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	redis, err := cache.Dial(cache.Config{URL: o.Redis})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, redis.Close()) }()
	kafka, err := publish.NewKafka(o.Brokers, topic, publish.KafkaOptions{Compression: "none", TransactionalID: "bench-stages"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kafka.Close()) }()
	registry, err := publish.NewRegistry(o.Registry, publish.RegistryOptions{})
	if err != nil {
		return err
	}
	encoder, err := publish.NewAvro(registry, topic, publish.AvroOptions{Register: true})
	if err != nil {
		return err
	}
	s := &stages{stageOptions: o, source: client, encoder: encoder, kafka: kafka, times: &t}
	cluster, err := kafka.ClusterID(ctx)
	if err != nil {
		return err
	}
	s.store = cache.New(redis, cache.Destination(cluster, topic, ""))
	if err := s.run(ctx); err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(t)
}

type stages struct {
	stageOptions
	source  shiftsync.Source
	encoder shiftsync.Encoder
	kafka   shiftsync.Publisher
	store   shiftsync.Store
	times   *stageTimes
}

// forever is a right to write that does not end.
type forever struct{}

func (forever) Err() error { return nil }

func (s *stages) run(ctx context.Context) error {
	if _, err := s.encoder.Prepare(ctx, true); err != nil {
		return err
	}
	if _, err := s.kafka.Topic(ctx); err != nil {
		return err
	}
	if err := s.kafka.Begin(ctx, true); err != nil {
		return err
	}
	owner := shiftsync.Owner{Token: "bench", Name: "bench"}
	if found, err := s.store.Acquire(ctx, owner, time.Hour); err != nil || found.Holder != "" {
		return errors.Join(err, errors.New("the lease is "+found.Holder))
	}
	defer func() { _ = s.store.Release(ctx, owner) }()
	term := shiftsync.Term{Owner: owner.Token, Claim: "bench"}
	if _, err := s.store.Claim(ctx, term); err != nil {
		return err
	}
	now := time.Now()
	window, err := shiftsync.WindowAround(now, 0, 1)
	if err != nil {
		return err
	}

	var some [][]byte // shifts as they come, enough of them that no processor holds them all
	ids := make([]int64, 0, s.Shifts)
	if s.times.Read, err = cpuOf(func() error {
		return s.source.Read(ctx, window, func(id int64, _ uint64, raw []byte) error {
			ids = append(ids, id)
			if len(some) < min(s.Changed, 20_000) {
				some = append(some, append([]byte(nil), raw...))
			}
			return nil
		})
	}); err != nil {
		return err
	}
	var (
		sightings = make([]shiftsync.Sighting, atOnce)
		known     = make([]shiftsync.Known, atOnce)
		intents   = make([]shiftsync.Intent, 0, atOnce)
		records   = make([]shiftsync.Record, 0, atOnce)
		settled   = make([]shiftsync.Settled, 0, atOnce)
		shift     shiftsync.Shift
		buf       []byte
	)
	if s.times.Lookup, err = cpuOf(func() error {
		for at := 0; at < len(ids); at += atOnce {
			part := ids[at:min(at+atOnce, len(ids))]
			for i, id := range part {
				sightings[i] = shiftsync.Sighting{ID: id}
			}
			clear(known)
			if err := s.store.Lookup(ctx, sightings[:len(part)], known[:len(part)]); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for at := 0; at < s.Changed; at += atOnce {
		intents, buf = intents[:0], buf[:0]
		if err := add(&s.times.Encode, func() error {
			for i := at; i < min(at+atOnce, s.Changed); i++ {
				if err := s.source.Parse(some[i%len(some)], &shift); err != nil {
					return err
				}
				in := shiftsync.Intent{Mark: uint64(at + 1)}
				shift.ID = ids[i]
				if buf, err = s.encoder.Encode(&shift, buf, &in.Record); err != nil {
					return err
				}
				intents = append(intents, in)
			}
			return nil
		}); err != nil {
			return err
		}
		if err := add(&s.times.Intend, func() error { _, err := s.store.Intend(ctx, term, intents); return err }); err != nil {
			return err
		}
		records, settled = records[:0], settled[:0]
		for i := range intents {
			records = append(records, intents[i].Record)
		}
		var outcomes []shiftsync.Outcome
		if err := add(&s.times.Publish, func() error {
			outcomes, err = s.kafka.Publish(ctx, forever{}, "bench", records)
			return err
		}); err != nil {
			return err
		}
		for i := range intents {
			settled = append(settled, shiftsync.Settled{ID: intents[i].ID, Mark: intents[i].Mark, Version: intents[i].Version,
				Partition: outcomes[i].Partition, Offset: outcomes[i].Offset})
		}
		if err := add(&s.times.Remember, func() error { _, err := s.store.Remember(ctx, term, settled); return err }); err != nil {
			return err
		}
	}
	return nil
}

// cpuOf returns the CPU time that this process takes for what it does.
func cpuOf(do func() error) (time.Duration, error) {
	before := usedBy(syscall.RUSAGE_SELF)
	err := do()
	return usedBy(syscall.RUSAGE_SELF) - before, err
}

// add adds the CPU time of what it does to a sum.
func add(to *time.Duration, do func() error) error {
	d, err := cpuOf(do)
	*to += d
	return err
}
