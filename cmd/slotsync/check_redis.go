package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

func redisChecks() []check {
	look := func(judge func(*facts) finding) func(*facts) finding {
		return func(w *facts) finding {
			if w.redis.err != nil || partless(w) {
				return skip("Redis was not reached")
			}
			return judge(w)
		}
	}
	// What is kept for a destination is found under a name that has the id of the Kafka cluster in it.
	kept := func(judge func(*facts) finding) func(*facts) finding {
		return look(func(w *facts) finding {
			switch r := &w.redis; {
			case r.stateErr != nil:
				if command, missing := missingRight(r.stateErr); missing {
					return fail("let the user of REDIS_HOST call it", "%s", r.stateErr).
						with("%s ACL SETUSER <user> ~slotsync:* +%s", redisCLI(w), command)
				}
				return fail("see that the user of REDIS_HOST may read slotsync:* and that no other program writes there", "%s", r.stateErr)
			case r.state == nil:
				return skip("it is kept under the id of the Kafka cluster, which was not reached")
			}
			return judge(w)
		})
	}
	return []check{
		{"redis_reached", "Redis", "answer", judgeRedis},
		{"redis_version", "Redis", "version", look(judgeRedisVersion)},
		{"redis_role", "Redis", "role", look(judgeRole)},
		{"redis_scripts", "Redis", "scripts", look(judgeScripts)},
		{"redis_eviction", "Redis", "eviction", look(judgeEviction)},
		{"redis_append_only", "Redis", "append-only file", look(judgeAppendOnly)},
		{"redis_memory", "Redis", "memory", look(judgeMemory)},
		{"redis_lease", "Redis", "lease", kept(judgeLease)},
		{"redis_shifts", "Redis", "remembered", kept(judgeRemembered)},
		{"redis_intents", "Redis", "open intents", kept(judgeIntents)},
		{"redis_old_keys", "Redis", "old keys", look(judgeOldKeys)},
	}
}

// redisCLI begins a command for the server of REDIS_HOST, or for one that is to be filled in. What it sets is for those who may: if there is a password, it
// asks for theirs.
func redisCLI(w *facts) string {
	at := w.cfg.Redis.URL
	command := "redis-cli -u " + at.String()
	if path, isSocket := strings.CutPrefix(at.String(), "unix://"); isSocket {
		command = "redis-cli -s " + path
	}
	if w.cfg.Redis.Master != "" || len(w.cfg.Redis.Cluster) > 0 {
		command = "redis-cli -u " + strings.SplitAfter(at.String(), "://")[0] + "<master>"
	}
	for _, file := range []struct {
		flag string
		pem  pemSource
	}{{" --cacert ", w.cfg.Redis.CA}, {" --cert ", w.cfg.Redis.Cert}, {" --key ", w.cfg.Redis.Key}} {
		if file.pem.path != "" {
			command += file.flag + file.pem.path
		}
	}
	u, err := url.Parse(at.Reveal())
	if err != nil || u.User == nil {
		return command
	}
	if u.User.Username() != "" && w.redis.warning == "" {
		command += " --user <admin>"
	}
	return command + " --askpass"
}

func judgeRedis(w *facts) finding {
	r := &w.redis
	command, missing := missingRight(r.err)
	switch {
	case missing:
		return fail("let the user of REDIS_HOST call it: this check needs it, the worker itself does not", "%s%s", asked(w.cfg), r.err).
			with("%s ACL SETUSER <user> +%s", redisCLI(w), command)
	case r.err != nil && refusesPassword(r.err):
		return judgePassword(w)
	case tlsAdvice(r.err, "REDIS", "REDIS_HOST") != "":
		return fail(tlsAdvice(r.err, "REDIS", whereRedis(w.cfg)), "%s%s", asked(w.cfg), r.err)
	case r.err != nil && w.cfg.plainRedis() && hungUp(r.err):
		return fail("if it speaks TLS there, begin REDIS_HOST with rediss://; else see that "+rightSetting(w.cfg), "%s%s", asked(w.cfg), r.err)
	case r.err != nil && strings.HasPrefix(w.cfg.Redis.URL.String(), "rediss://"):
		return fail("see that "+rightSetting(w.cfg)+", that it speaks TLS there (else begin REDIS_HOST with redis://), and that it can be reached from here",
			"%s%s", asked(w.cfg), r.err)
	case r.err != nil:
		return fail("see that "+rightSetting(w.cfg)+", and that it can be reached from here", "%s%s", asked(w.cfg), r.err)
	case partless(w):
		return fail("see which node is down: while a part of the cluster has no master, nothing can be kept", "%s", r.scripts).
			with("redis-cli --cluster check <host>:<port>")
	case r.warning != "":
		return warn("correct the user in REDIS_HOST, or take it out", "%s", r.warning)
	case r.server.Where != "":
		return ok("%s, round trip %s", r.server.Where, rounded(r.server.RoundTrip))
	}
	return ok("%s, round trip %s", w.cfg.Redis.URL, rounded(r.server.RoundTrip))
}

func judgePassword(w *facts) finding {
	if strings.Contains(w.redis.err.Error(), "REDIS_SENTINEL_PASSWORD") {
		return fail("put the password of the Sentinels into REDIS_SENTINEL_PASSWORD; that of the servers stands in REDIS_HOST", "%s", w.redis.err)
	}
	advice, refused := "put the password into REDIS_HOST, as redis://:password@host:port", w.redis.err.Error()
	if w.redisPassword() {
		advice = "correct it, with special characters percent-encoded, and the user if there is one"
		refused = "the password in REDIS_HOST is refused: " + refused
	}
	return fail(advice, "%s%s", asked(w.cfg), refused)
}

func refusesPassword(err error) bool {
	return strings.Contains(err.Error(), "NOAUTH") || strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "invalid password")
}

// redisPassword tells whether REDIS_HOST has a password in it.
func (w *facts) redisPassword() bool {
	u, err := url.Parse(w.cfg.Redis.URL.Reveal())
	if err != nil {
		return false
	}
	password, _ := u.User.Password()
	return password != ""
}

// missingRight returns the command that a user of Redis may not call, if err says so.
func missingRight(err error) (command string, is bool) {
	if err == nil || !strings.Contains(err.Error(), "NOPERM") {
		return "", false
	}
	named := regexp.MustCompile(`'([a-z|]+)' command`).FindStringSubmatch(err.Error())
	if named == nil {
		return "", false
	}
	return named[1], true
}

// partless tells whether Redis is a cluster that takes nothing because a part of it has no master.
func partless(w *facts) bool {
	return w.redis.scripts != nil && strings.Contains(w.redis.scripts.Error(), "CLUSTERDOWN")
}

// asked is what the error of a single server begins with. Others say themselves what was asked.
func asked(cfg *config) string {
	if cfg.Redis.Master != "" || len(cfg.Redis.Cluster) > 0 {
		return ""
	}
	return cfg.Redis.URL.String() + ": "
}

// plainRedis tells whether Redis is spoken with in the clear.
func (c *config) plainRedis() bool { return strings.HasPrefix(c.Redis.URL.String(), "redis://") }

// hungUp tells whether a server has closed the connection instead of answering.
func hungUp(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

// whereRedis is the setting that names the servers.
func whereRedis(cfg *config) string {
	setting, _, _ := strings.Cut(rightSetting(cfg), " is right")
	return strings.TrimSuffix(setting, " are right")
}

// rightSetting names what says where to look for Redis.
func rightSetting(cfg *config) string {
	switch {
	case cfg.Redis.Master != "":
		return "REDIS_SENTINEL_MASTER and REDIS_SENTINEL_ADDRS are right"
	case len(cfg.Redis.Cluster) > 0:
		return "REDIS_CLUSTER_ADDRS is right"
	default:
		return "REDIS_HOST is right"
	}
}

func judgeRedisVersion(w *facts) finding {
	switch runs, known := w.redis.server.NewEnough(); {
	case !known:
		return warn("see that it is Redis 5 or newer; to have it told here, let the user of REDIS_HOST call INFO", "not told")
	case !runs:
		return fail("use Redis 5 or newer: older ones refuse scripts that read the clock before they write", "%s", w.redis.server.Version)
	}
	return ok("%s", w.redis.server.Version)
}

func judgeRole(w *facts) finding {
	switch w.redis.server.Role {
	case "slave":
		return fail("set REDIS_HOST to the primary; with Sentinel, see whether it is at work on a failover", "a replica, which takes no writes")
	case "":
		return warn("see that REDIS_HOST is the primary; to have it told here, let the user of REDIS_HOST call INFO", "not told")
	}
	return ok("takes writes")
}

func judgeScripts(w *facts) finding {
	r := &w.redis
	switch {
	case r.scripts != nil:
		return fail("let the user of REDIS_HOST run scripts, on the keys slotsync:*", "%s", r.scripts).
			with("%s ACL SETUSER <user> +eval +evalsha ~slotsync:*", redisCLI(w))
	case len(r.refused) > 0:
		return fail("let the user of REDIS_HOST call them, on the keys slotsync:*", "they run, but may not call %s", strings.Join(r.refused, ", ")).
			with("%s ACL SETUSER <user> ~slotsync:* +%s", redisCLI(w), strings.ToLower(strings.Join(r.refused, " +")))
	case !r.told:
		return ok("they run; which commands are refused is not told before Redis 7")
	}
	return ok("they run, and may call all they need")
}

func judgeEviction(w *facts) finding {
	switch policy := w.redis.server.Policy; policy {
	case "noeviction":
		return ok("maxmemory-policy %s", policy)
	case "":
		return warn("see that maxmemory-policy is noeviction: what is evicted may be a change that was never sent", "not told")
	default:
		return warn("put maxmemory-policy noeviction into redis.conf: what is evicted may be a change that was never sent",
			"maxmemory-policy %s", policy).with("%s CONFIG SET maxmemory-policy noeviction", redisCLI(w))
	}
}

func judgeAppendOnly(w *facts) finding {
	switch w.redis.server.AppendOnly {
	case "1":
		return ok("on")
	case "0":
		return warn("put appendonly yes into redis.conf: what a restart forgets may be a change that was never sent", "off").
			with("%s CONFIG SET appendonly yes", redisCLI(w))
	default:
		return warn("see that appendonly is on: what a restart forgets may be a change that was never sent", "not told")
	}
}

func judgeMemory(w *facts) finding {
	s := w.redis.server
	const advice = "raise maxmemory, or make room: on a full server nothing new can be sent"
	switch {
	case s.Limit < 0 || s.Used == 0:
		return warn("see that there is room for some 120 bytes a shift", "not told")
	case s.Limit == 0:
		return ok("%s used, no maxmemory", mebibytes(s.Used))
	case s.Used >= s.Limit:
		return fail(advice, "%s used of %s: full", mebibytes(s.Used), mebibytes(s.Limit))
	case s.Used > s.Limit/10*9:
		return warn(advice, "%s used of %s", mebibytes(s.Used), mebibytes(s.Limit))
	}
	return ok("%s used of %s", mebibytes(s.Used), mebibytes(s.Limit))
}

func mebibytes(n int64) string {
	if n < 10<<20 {
		return grouped(int(n>>10)) + " KiB"
	}
	return grouped(int(n>>20)) + " MiB"
}

func judgeLease(w *facts) finding {
	s := w.redis.state
	if s.Holder == "" {
		return ok("free: no worker is at work on this topic")
	}
	return ok("held by %s for another %s; a further worker stands by", s.Holder, rounded(s.Remaining))
}

func judgeRemembered(w *facts) finding {
	s := w.redis.state
	seen := counted(int(s.Remembered), "shift") + ", and " + grouped(int(s.Aside)) + " set aside"
	if s.Remembered == 0 && s.Aside == 0 {
		seen = "none: the next pass publishes the whole window"
	}
	if s.Wanted > 0 {
		seen += "; " + wantedAgain(s)
	}
	return ok("%s", seen)
}

// wantedAgain says how much of what --republish asked for is still to come, and how it does.
func wantedAgain(s *cache.DestinationState) string {
	return fmt.Sprintf("%s wanted again: a pass publishes those in its window, and reads the others one by one, up to %d",
		counted(int(s.Wanted), "shift"), shiftsync.WantedBatch)
}

func judgeIntents(w *facts) finding {
	s, limit := w.redis.state, w.cfg.Limits.Pending
	switch {
	case int(s.Open) >= limit:
		return warn("see why Kafka takes nothing, or raise PENDING_LIMIT: no further change is collected",
			"%s, which is all that PENDING_LIMIT allows", grouped(int(s.Open)))
	case len(w.redis.stranded) > 0:
		var names []string
		for name := range w.redis.stranded {
			names = append(names, name)
		}
		slices.Sort(names)
		return warn("let a worker work there once more, or delete the keys if the changes do not matter",
			"%s here; changes meant for another Kafka cluster were never sent: %s", grouped(int(s.Open)), strings.Join(names, ", "))
	case s.Open > 0:
		return ok("%s, which go out first", grouped(int(s.Open)))
	}
	return ok("none")
}

func judgeOldKeys(w *facts) finding {
	r := &w.redis
	switch {
	case r.oldErr != nil:
		return ok("slot:* of slot_sync: not told; slotsync leaves them alone")
	case r.old == 0 && r.oldAll:
		return ok("none of slot_sync")
	}
	return ok("%s of slot_sync (slot:*); slotsync leaves them alone", oldKeys(r))
}

func oldKeys(r *redisFacts) string {
	if r.oldAll {
		return grouped(r.old)
	}
	return "more than " + grouped(r.old)
}
