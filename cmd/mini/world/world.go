// Package world is what surrounds a worker, all of it on loopback and inside one process: the API, Redis, a broker
// and a schema registry. The demo shows a worker in it, and tests hold a worker against it.
package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/slotsync/slotsync/publish/publishtest"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// Topic is the topic that the worker writes to.
const Topic = "shifts"

// token is what the API asks for.
const token = "made-up-session-token"

// Options say how large a world is. The zero value has no shifts and one partition.
type Options struct {
	Shifts     int // that the API begins with, in the day before and the two days after Start
	Partitions int
	Seed       uint64
}

// World is running surroundings. The fields may be used to look at it and to change it.
type World struct {
	API      *wiwtest.Server
	APIURL   string
	Redis    *miniredis.Miniredis
	Kafka    *publishtest.Kafka
	Registry *srfake.Registry

	api    *http.Server
	served chan error
	clock  chan struct{} // closed when the clock of Redis has stopped
	stop   context.CancelFunc
}

// Start starts a world, which runs until Close.
func Start(o Options) (w *World, err error) {
	now := time.Now().UTC().Truncate(time.Hour)
	w = &World{
		API:      wiwtest.New(wiwtest.Options{Seed: o.Seed, Shifts: o.Shifts, From: now.Add(-20 * time.Hour), To: now.Add(44 * time.Hour), Token: token}),
		Redis:    miniredis.NewMiniRedis(),
		Registry: srfake.New(),
		served:   make(chan error, 1),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if err := w.Redis.Start(); err != nil {
		return w, fmt.Errorf("start redis: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop, w.clock = stop, make(chan struct{})
	go func() {
		defer close(w.clock)
		w.keepTime(ctx)
	}()
	if w.Kafka, err = publishtest.StartKafka(publishtest.KafkaOptions{
		Topic: Topic, Partitions: o.Partitions, TopicSettings: map[string]string{"cleanup.policy": "compact"},
	}); err != nil {
		return w, err
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return w, fmt.Errorf("start API: %w", err)
	}
	w.APIURL = "http://" + l.Addr().String()
	w.api = &http.Server{Handler: w.API, ReadHeaderTimeout: 10 * time.Second}
	go func() { w.served <- w.api.Serve(l) }()
	return w, nil
}

// keepTime lets keys expire, which the embedded Redis does not do by itself: without it, a killed worker would hold
// its lease forever.
func (w *World) keepTime(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			w.Redis.FastForward(now.Sub(last))
			last = now
		}
	}
}

// Env returns the settings with which a worker finds itself in this world.
func (w *World) Env() map[string]string {
	return map[string]string{
		"WIW_URL":                              w.APIURL,
		"WIW_KEY":                              token,
		"WIW_INCLUDE":                          "open,unpublished",
		"SYNC_DAYS_PRIOR":                      "1",
		"SYNC_DAYS_AHEAD":                      "2",
		"KAFKA_BROKERS":                        strings.Join(w.Kafka.Addrs, ","),
		"KAFKA_TOPIC_NAME":                     Topic,
		"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": w.Registry.URL(),
		"REDIS_HOST":                           "redis://" + w.Redis.Addr(),
	}
}

// Close ends all of it.
func (w *World) Close() error {
	var err error
	if w.api != nil {
		err = w.api.Close()
		if served := <-w.served; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
	}
	if w.Kafka != nil {
		w.Kafka.Close()
	}
	w.Registry.Close()
	if w.clock != nil {
		w.stop()
		<-w.clock
	}
	w.Redis.Close()
	return err
}
