package cache

import (
	"context"
	"embed"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Redis is the store of one destination. It is safe for concurrent use. An owner's token belongs to one Redis value:
// its steps are numbered here.
type Redis struct {
	client  Client
	key     keys
	script  scripts
	keep    time.Duration
	timeout time.Duration

	turn chan struct{} // holds one element while a Claim or an Intend is on its way
	step int64         // number of the last of them; guarded by turn

	packs sync.Pool // of *packed

	// What Lookup found last, which spares it a second trip and nothing else.
	intents, aside, doubted atomic.Bool
}

var _ shiftsync.Store = (*Redis)(nil)

// Option changes a Redis that New makes.
type Option func(*Redis)

// Keep tells for how long a shift that is not seen any more is remembered, 604800 s by default. Lookup calls a shift
// stale when half of it has passed.
func Keep(d time.Duration) Option { return func(r *Redis) { r.keep = d } }

// Timeout bounds each exchange with the server, 4 s by default; most steps are one. The client must have
// ContextTimeoutEnabled, as that of Dial has, or the end of a context is not looked at while it reads.
func Timeout(d time.Duration) Option { return func(r *Redis) { r.timeout = d } }

// New returns the store of a destination, which is named as Destination names it. It does not close the client.
func New(client Client, destination string, options ...Option) *Redis {
	r := &Redis{
		client:  client,
		key:     keysOf(destination),
		script:  newScripts(),
		keep:    604800 * time.Second,
		timeout: 4 * time.Second,
		turn:    make(chan struct{}, 1),
		// Two values that are given one token by mistake must not take each other's steps for copies of their own:
		// numbers that begin at different times make the older one lose the lease.
		step: time.Now().UnixMicro(),
	}
	for _, option := range options {
		option(r)
	}
	return r
}

// Destination names what is written to: a topic of a Kafka cluster and, if it is not empty, the name that tells
// apart two accounts or environments that feed it. Different arguments give different destinations.
func Destination(clusterID, topic, name string) string {
	destination := url.PathEscape(clusterID) + "/" + url.PathEscape(topic)
	if name != "" {
		destination += "/" + url.PathEscape(name)
	}
	return destination
}

type keys struct {
	lease, shifts, intents, aside, wanted, layout, ends, swept string
	missing, called, doubted, letters, inStep                  string
}

func keysOf(destination string) keys {
	prefix := "slotsync:{" + destination + "}:"
	return keys{
		lease:   prefix + "lease",
		shifts:  prefix + "shifts",
		intents: prefix + "intents",
		aside:   prefix + "aside",
		wanted:  prefix + "wanted",
		layout:  prefix + "layout",
		ends:    prefix + "ends",
		swept:   prefix + "swept",
		missing: prefix + "missing",
		called:  prefix + "called",
		doubted: prefix + "doubted",
		letters: prefix + "letters",
		inStep:  prefix + "in_step",
	}
}

//go:embed lua
var lua embed.FS

type scripts struct {
	acquire, renew, release        *redis.Script
	claim, clear, intend, remember *redis.Script
	refresh, due, sweep            *redis.Script
	bind, forget, drop             *redis.Script
	want, unwant                   *redis.Script
	note, doubt                    *redis.Script
}

func newScripts() scripts {
	return scripts{
		acquire:  script("now", "acquire"),
		renew:    script("lease", "renew"),
		release:  script("lease", "release"),
		claim:    script("lease", "claim"),
		clear:    script("lease", "term", "stub", "clear"),
		intend:   script("lease", "term", "intend"),
		remember: script("lease", "term", "now", "remember"),
		refresh:  script("lease", "term", "now", "refresh"),
		due:      script("lease", "term", "now", "due"),
		sweep:    script("lease", "term", "now", "sweep"),
		bind:     script("lease", "bind"),
		forget:   script("lease", "stub", "forget"),
		drop:     script("lease", "drop"),
		want:     script("want"),
		unwant:   script("lease", "term", "unwant"),
		note:     script("lease", "term", "now", "note"),
		doubt:    script("lease", "term", "now", "doubt"),
	}
}

// script joins embedded files. Like regexp.MustCompile it panics over what cannot be wrong in a program that was tested.
func script(parts ...string) *redis.Script {
	var source []byte
	for _, part := range parts {
		text, err := lua.ReadFile("lua/" + part + ".lua")
		if err != nil {
			panic(err)
		}
		source = append(source, text...)
	}
	return redis.NewScript(string(source))
}

// run takes a step. The answer -1 of a script is ErrLeaseLost. Errors do not name the step: callers say what it was for.
func (r *Redis) run(ctx context.Context, s *redis.Script, keys []string, args ...any) (*redis.Cmd, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	cmd := s.Run(ctx, r.client, keys, args...)
	if err := cmd.Err(); err != nil {
		return nil, explain(r.client, err)
	}
	if cmd.Val() == int64(-1) {
		return nil, shiftsync.ErrLeaseLost
	}
	return cmd, nil
}

// count takes a step whose answer is a number.
func (r *Redis) count(ctx context.Context, s *redis.Script, keys []string, args ...any) (int, error) {
	cmd, err := r.run(ctx, s, keys, args...)
	if err != nil {
		return 0, err
	}
	n, err := cmd.Int()
	return n, explain(r.client, err)
}

// numbered takes a step of which at most one is on its way.
func (r *Redis) numbered(ctx context.Context, take func(step int64) (int, error)) (int, error) {
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, fmt.Errorf("waiting for the step before: %w", ctx.Err())
	}
	defer func() { <-r.turn }()
	r.step++
	return take(r.step)
}
