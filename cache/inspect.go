package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Nothing in this file writes. It may look while a worker is at work.

// ServerState is what a Redis server tells of itself; of the masters of a cluster, the worst that one of them does. What
// is not told is zero.
type ServerState struct {
	Where     string   // the master that Sentinel told of, or how many there are; empty: there is one, where it should be
	Addr      string   // of that master, or of one of the cluster's, host:port
	Away      []string // masters of a cluster that did not answer, and why
	RoundTrip time.Duration
	Version   string // such as 7.0.15; of a server that only resembles Redis: of the Redis that it resembles
	Role      string // master or slave
	IsNode    bool   // of a Redis Cluster
	Followers int    // replicas that keep up, if WantsFollowers is not zero
	// WantsFollowers is min-replicas-to-write: with fewer Followers no write is taken.
	WantsFollowers int
	Policy         string // maxmemory-policy
	AppendOnly     string // "1" or "0"
	Used           int64  // bytes
	Limit          int64  // maxmemory in bytes; 0: none; negative: not told
}

// Scripts need what Redis has since this version: a script may read the clock and write afterwards.
const scriptsMajor = 5

// NewEnough tells whether the server's version runs the scripts, and whether the version is known.
func (s *ServerState) NewEnough() (runs, known bool) {
	major, _, _ := strings.Cut(s.Version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= scriptsMajor, err == nil
}

// Inspect asks the servers about themselves. Managed servers forbid some of the questions; what they do not answer is
// left zero and is no error.
func Inspect(ctx context.Context, client Client) (*ServerState, error) {
	var all []*ServerState
	var away []string
	_, isCluster := client.(*redis.ClusterClient)
	err := onEachMaster(ctx, client, func(one Client) error {
		s, err := inspect(ctx, one)
		if isCluster && err != nil && !isAnswer(err) {
			away = append(away, fmt.Sprintf("%s: %s", where(one), err))
			return nil // the others may be all that it takes
		}
		all = append(all, s)
		return err
	})
	if _, alone := client.(*redis.Client); err != nil && !alone {
		return nil, explain(client, err) // which of them it was is not known elsewhere
	}
	switch {
	case err != nil:
		return nil, err
	case len(all) == 0 && len(away) > 0:
		return nil, fmt.Errorf("no master of the cluster answers: %s", strings.Join(away, "; "))
	case len(all) == 0:
		return nil, errors.New("the cluster has no master")
	}
	worst := all[0]
	for _, s := range all[1:] {
		worst.add(s)
	}
	switch c := client.(type) {
	case *failover:
		worst.Where, worst.Addr = "master of "+c.where()+", as Sentinel tells", *c.address.Load()
	case *redis.ClusterClient:
		slices.Sort(away)
		worst.Where, worst.Away = fmt.Sprintf("cluster of %d masters", len(all)+len(away)), away
	}
	return worst, nil
}

// add takes from another server of the same cluster what is worse there.
func (s *ServerState) add(other *ServerState) {
	s.RoundTrip = max(s.RoundTrip, other.RoundTrip)
	if runs, known := other.NewEnough(); !runs || !known {
		s.Version = other.Version
	}
	if other.Role != "master" {
		s.Role = other.Role
	}
	if other.Followers-other.WantsFollowers < s.Followers-s.WantsFollowers {
		s.Followers, s.WantsFollowers = other.Followers, other.WantsFollowers
	}
	if other.Policy != "noeviction" {
		s.Policy = other.Policy
	}
	if other.AppendOnly != "1" {
		s.AppendOnly = other.AppendOnly
	}
	if other.fullness() > s.fullness() {
		s.Used, s.Limit = other.Used, other.Limit
	}
}

// fullness is the share of the memory that is used.
func (s *ServerState) fullness() float64 {
	if s.Limit <= 0 {
		return 0
	}
	return float64(s.Used) / float64(s.Limit)
}

func inspect(ctx context.Context, client Client) (*ServerState, error) {
	if err := client.Ping(ctx).Err(); err != nil { // makes the connection, which is no part of a round trip
		return nil, fmt.Errorf("ping: %w", err)
	}
	began := time.Now()
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, fmt.Errorf("ping: %w", err)
	}
	s := &ServerState{Addr: where(client), RoundTrip: time.Since(began), Limit: -1}
	told := map[string]string{}
	for _, section := range []string{"server", "memory", "persistence", "replication"} {
		text, err := client.Info(ctx, section).Result()
		if err != nil && !isAnswer(err) {
			return nil, fmt.Errorf("info: %w", err)
		}
		for line := range strings.Lines(text) {
			if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
				told[name] = value
			}
		}
	}
	s.Version, s.Role, s.IsNode = told["redis_version"], told["role"], told["redis_mode"] == "cluster"
	s.Used, _ = strconv.ParseInt(told["used_memory"], 10, 64)
	var err error
	if s.Policy, err = orConfig(ctx, client, told["maxmemory_policy"], "maxmemory-policy"); err != nil {
		return nil, err
	}
	if s.AppendOnly, err = orConfig(ctx, client, told["aof_enabled"], "appendonly"); err != nil {
		return nil, err
	}
	if follow, wants := told["min_slaves_good_slaves"]; wants {
		s.Followers, _ = strconv.Atoi(follow)
		least, err := orConfig(ctx, client, "", "min-replicas-to-write")
		if err != nil {
			return nil, err
		}
		s.WantsFollowers, _ = strconv.Atoi(least)
		s.WantsFollowers = max(s.WantsFollowers, 1) // or it would not be told how many follow
	}
	switch s.AppendOnly {
	case "yes":
		s.AppendOnly = "1"
	case "no":
		s.AppendOnly = "0"
	}
	limit, err := orConfig(ctx, client, told["maxmemory"], "maxmemory")
	if err != nil {
		return nil, err
	}
	if n, err := strconv.ParseInt(limit, 10, 64); err == nil {
		s.Limit = n
	}
	return s, nil
}

// orConfig returns what INFO told, or else what CONFIG GET does.
func orConfig(ctx context.Context, client Client, told, name string) (string, error) {
	if told != "" {
		return told, nil
	}
	values, err := client.ConfigGet(ctx, name).Result()
	if err != nil && !isAnswer(err) {
		return "", fmt.Errorf("config get %s: %w", name, err)
	}
	return values[name], nil
}

// Rights runs a script that does nothing, and returns the commands of the steps that the server would refuse on this
// destination's keys. Told is false if the server cannot say, before Redis 7; the script has run all the same. The
// error is that scripts are refused, or that the server did not answer.
func (r *Redis) Rights(ctx context.Context) (refused []string, told bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	answer, err := script("rights").Eval(ctx, r.client, []string{r.key.shifts}).StringSlice()
	if err != nil {
		return nil, false, explain(r.client, fmt.Errorf("eval: %w", err))
	}
	if len(answer) == 0 {
		return nil, false, errors.New("eval: answered with nothing")
	}
	return answer[1:], answer[0] == "told", nil
}

// DestinationState is what is kept for one destination.
type DestinationState struct {
	Holder     string        // name of the lease's holder; empty: nobody holds it
	Remaining  time.Duration // of the lease
	Remembered int64         // shifts
	Open       int64         // intents
	Aside      int64         // versions of shifts that were set aside
	Wanted     int64         // shifts that are to be published again and were not yet
	Ends       map[int]int64 // partition to its highest acknowledged offset
	Layout     shiftsync.Layout
}

// State returns what is kept for the destination.
func (r *Redis) State(ctx context.Context) (*DestinationState, error) {
	ends, err := r.Ends(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	trip := r.client.Pipeline()
	holder, ttl := trip.HGet(ctx, r.key.lease, "name"), trip.PTTL(ctx, r.key.lease)
	shifts, intents, aside := trip.HLen(ctx, r.key.shifts), trip.HLen(ctx, r.key.intents), trip.HLen(ctx, r.key.aside)
	wanted, layout := trip.HLen(ctx, r.key.wanted), trip.HGetAll(ctx, r.key.layout)
	if _, err := trip.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("look at the destination: %w", explain(r.client, err))
	}
	// A lease that is not there comes first and would hide what went wrong behind it.
	for _, cmd := range []redis.Cmder{ttl, shifts, intents, aside, wanted, layout} {
		if err := cmd.Err(); err != nil {
			return nil, fmt.Errorf("look at the destination: %w", explain(r.client, err))
		}
	}
	s := &DestinationState{
		Holder: holder.Val(), Remaining: max(ttl.Val(), 0),
		Remembered: shifts.Val(), Open: intents.Val(), Aside: aside.Val(), Wanted: wanted.Val(), Ends: ends,
	}
	if s.Layout, err = layoutOf(layout.Val()); err != nil {
		return nil, err
	}
	return s, nil
}

// CountOldKeys counts the keys of slot_sync, slot:*, which slotsync neither reads nor writes. It walks through all keys
// of all masters until ctx ends; all tells whether it came to their end.
func CountOldKeys(ctx context.Context, client Client) (n int, all bool, err error) {
	err = walk(ctx, client, "slot:*", func(_ Client, keys []string) error {
		n += len(keys)
		return nil
	})
	if err != nil && ctx.Err() != nil {
		return n, false, nil
	}
	return n, err == nil, err
}
