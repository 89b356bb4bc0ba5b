//go:build unix

package main

import (
	"net"
	"strings"

	"github.com/slotsync/slotsync/cache/cachetest"
)

// split lets the Sentinels and the replica lose a master that the worker goes on to write to, and returns what heals that.
// The worker has a user of its own, and a Sentinel that hangs and so tells it of nothing.
func (r *rehearsal) split(settings ...string) (old, replica *cachetest.Server, heal func()) {
	r.Helper()
	old, err := cachetest.Start(r.dir, settings...)
	r.ends(old, err)
	replica, err = cachetest.StartReplica(r.dir, old)
	r.ends(replica, err)
	sentinels, err := cachetest.StartSentinels(r.dir, old, 3)
	r.may(err)
	r.Cleanup(sentinels.Close)
	r.watchedBy(sentinels[:1])
	for _, s := range []*cachetest.Server{old, replica} {
		allow(r.T, s, "slotsync", hush)
	}
	r.settings["REDIS_HOST"] = "redis://slotsync:" + hush + "@nowhere"
	r.begin()

	r.may(sentinels[0].Pause())
	r.may(old.Do(r.Context(), "acl", "setuser", "default", "-@all", "+acl", "+client"))
	r.may(old.Do(r.Context(), "client", "kill", "type", "replica"))
	r.may(old.Do(r.Context(), "acl", "setuser", "default", "-client"))
	return old, replica, func() {
		r.Helper()
		r.may(old.Do(r.Context(), "acl", "setuser", "default", "+@all"))
		r.may(sentinels[0].Resume())
		r.may(old.Follows())
	}
}

// isSplit lets two masters lead at a time. What was written to the old one is lost with it, and what it lacks is published
// again.
func isSplit(r *rehearsal) {
	_, replica, heal := r.split()
	r.successes(5)
	r.may(replica.Leads())
	heal()
	r.successes(2)
	r.lags, r.smooth = true, true
}

// isSplitAndBounded does so with the bound that the README advises: the old master refuses what would be lost.
func isSplitAndBounded(r *rehearsal) {
	_, replica, heal := r.split("--min-replicas-to-write", "1", "--min-replicas-max-lag", "10")
	r.log.wait(r.T, "the word that no replica follows", func(l *tally) bool {
		return strings.Contains(l.last, "NOREPLICAS") && strings.Contains(l.last, "min-replicas-to-write")
	})
	r.may(replica.Leads())
	heal()
	r.successes(2)
}

// handsANodeOver makes the replica of the node that keeps the destination its master, and back, under passes.
func handsANodeOver(r *rehearsal) {
	nodes, err := cachetest.StartCluster(r.dir, 3)
	r.may(err)
	r.Cleanup(nodes.Close)
	r.settings["REDIS_CLUSTER_ADDRS"] = strings.Join(nodes.Addrs(), ",")
	r.begin()
	old := keeper(r.T, nodes)
	replica, err := cachetest.JoinReplica(r.dir, old)
	r.ends(replica, err)
	for _, s := range append(nodes, replica) {
		r.may(s.Knows(len(nodes) + 1))
	}
	for range 2 {
		r.may(replica.TakeOver(r.Context()))
		r.may(old.Follows())
		r.successes(2)
		old, replica = replica, old
	}
	r.smooth = true // who is sent elsewhere goes there
}

// movesTheSlot moves what is kept of the destination to another node, key by key, under passes: some find a part of it
// here and a part there.
func movesTheSlot(r *rehearsal) {
	nodes, err := cachetest.StartCluster(r.dir, 3)
	r.may(err)
	r.Cleanup(nodes.Close)
	r.settings["REDIS_CLUSTER_ADDRS"] = strings.Join(nodes.Addrs(), ",")
	r.begin()
	from := keeper(r.T, nodes)
	to := nodes[0]
	if from == to {
		to = nodes[1]
	}
	here, err := from.ID(r.Context())
	r.may(err)
	there, err := to.ID(r.Context())
	r.may(err)
	host, port, _ := net.SplitHostPort(to.Addr)
	c := from.Client()
	defer c.Close()
	keys, err := c.Keys(r.Context(), "slotsync:*").Result()
	r.may(err)
	slot, err := c.ClusterKeySlot(r.Context(), keys[0]).Result()
	r.may(err)

	r.may(to.Do(r.Context(), "cluster", "setslot", slot, "importing", here))
	r.may(from.Do(r.Context(), "cluster", "setslot", slot, "migrating", there))
	for moved := 0; ; moved++ {
		keys, err := c.ClusterGetKeysInSlot(r.Context(), int(slot), 1).Result()
		r.may(err)
		if len(keys) == 0 {
			break
		}
		r.may(c.Do(r.Context(), "migrate", host, port, keys[0], 0, 5000).Err())
		if moved == 1 {
			r.failures(1) // with something here, and something there
		}
	}
	for _, s := range nodes {
		r.may(s.Do(r.Context(), "cluster", "setslot", slot, "node", there))
	}
	r.successes(2)
	if at := keeper(r.T, nodes); at != to {
		r.Errorf("the destination is kept at %s, want %s", at.Addr, to.Addr)
	}
}
