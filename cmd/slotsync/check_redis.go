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
			if w.redis.err != nil || unserved(w) != nil {
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
		{"redis_sentinels", "Redis", "Sentinels", judgeSentinels},
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

// redisCLI begins a command for the server that was found, or for one that is to be filled in. What it sets is for those
// who may: if there is a password, it asks for theirs.
func redisCLI(w *facts) string {
	at := w.cfg.Redis.URL
	command := "redis-cli -u " + at.String()
	if path, isSocket := strings.CutPrefix(at.String(), "unix://"); isSocket {
		command = "redis-cli -s " + path
	}
	if w.cfg.manyRedis() {
		command = "redis-cli -u " + strings.SplitAfter(at.String(), "://")[0] + foundAt(w)
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

// foundAt is the address of a server that was found, or what stands for it.
func foundAt(w *facts) string {
	if w.redis.server == nil {
		return "<host>:<port>"
	}
	return w.redis.server.Addr
}

// onAll ends an advice to change a setting, where it has to be changed on more than the server that the command is for.
func onAll(cfg *config) string {
	if cfg.manyRedis() {
		return "; do so on all servers"
	}
	return ""
}

// manyRedis tells whether the servers are found through Sentinels, or are nodes of a Cluster.
func (c *config) manyRedis() bool { return c.Redis.Master != "" || len(c.Redis.Cluster) > 0 }

func judgeRedis(w *facts) finding {
	r := &w.redis
	command, missing := missingRight(r.err)
	seen := asked(w.cfg) + troubleOf(r.err)
	var said *cache.ServerError
	switch {
	case missing:
		return fail("let the user of REDIS_HOST call it: this check needs it, the worker itself does not", "%s", seen).
			with("%s ACL SETUSER <user> +%s", redisCLI(w), command)
	case r.err != nil && refusesPassword(r.err):
		return judgePassword(w)
	case tlsAdvice(r.err, "REDIS", "REDIS_HOST") != "":
		return fail(tlsAdvice(r.err, "REDIS", whereRedis(w.cfg)), "%s", seen)
	case errors.As(r.err, &said) && said.Answered && said.Advice != "":
		return fail(said.Advice, "%s", seen)
	case r.err != nil && w.cfg.plainRedis() && hungUp(r.err):
		return fail("if it speaks TLS there, begin REDIS_HOST with rediss://; else see that "+rightSetting(w.cfg), "%s", seen)
	case r.err != nil && strings.HasPrefix(w.cfg.Redis.URL.String(), "rediss://"):
		return fail("see that "+rightSetting(w.cfg)+", that it speaks TLS there (else begin REDIS_HOST with redis://), and that it can be reached from here",
			"%s", seen)
	case r.err != nil:
		return fail("see that "+rightSetting(w.cfg)+", and that it can be reached from here", "%s", seen)
	case unserved(w) != nil:
		f := fail(unserved(w).Advice, "%s", troubleOf(r.scripts))
		if len(w.cfg.Redis.Cluster) > 0 {
			f = f.with("redis-cli --cluster check %s", r.server.Addr)
		}
		return f
	case r.warning != "":
		return warn("correct the user in REDIS_HOST, or take it out", "%s", r.warning)
	case len(r.server.Away) > 0:
		return warn("bring it back: it keeps nothing of this topic, but an outage of the others may take all of them to end",
			"%s, of which %d of no concern here does not answer: %s", r.server.Where, len(r.server.Away), strings.Join(r.server.Away, "; ")).
			with("redis-cli --cluster check %s", r.server.Addr)
	case r.server.IsNode && len(w.cfg.Redis.Cluster) == 0:
		return warn("name it in REDIS_CLUSTER_ADDRS: it may hand on to another node what it keeps", "%s, a node of a Redis Cluster", w.cfg.Redis.URL)
	case r.server.Where != "":
		return ok("%s, round trip %s", r.server.Where, rounded(r.server.RoundTrip))
	}
	return ok("%s, round trip %s", w.cfg.Redis.URL, rounded(r.server.RoundTrip))
}

// judgeSentinels tells of Sentinels that are not there: nobody misses them until the master fails.
func judgeSentinels(w *facts) finding {
	all := w.redis.sentinels
	if len(all) == 0 {
		return ok("none: REDIS_SENTINEL_ADDRS is not set")
	}
	var amiss []string
	answered, master := 0, ""
	for _, s := range all {
		switch {
		case s.Err != nil:
			amiss = append(amiss, s.Addr+": "+troubleOf(s.Err))
			continue
		case s.Master == "":
			amiss = append(amiss, s.Addr+": knows no master of that name")
		case master != "" && s.Master != master:
			amiss = append(amiss, fmt.Sprintf("%s: names %s as the master, others name %s", s.Addr, s.Master, master))
		default:
			master = s.Master
		}
		answered++
	}
	switch seen := fmt.Sprintf("%d of %d answered", answered, len(all)); {
	case answered == 0:
		return skip("none was reached")
	case master == "":
		return skip("none knows a master of that name")
	case len(amiss) > 0:
		return warn("bring them back and see that they agree, or correct REDIS_SENTINEL_ADDRS: only most of them together replace a master that fails",
			"%s; %s", seen, strings.Join(amiss, "; "))
	default:
		return ok("%s", seen)
	}
}

func judgePassword(w *facts) finding {
	if strings.Contains(w.redis.err.Error(), "REDIS_SENTINEL_PASSWORD") {
		return fail("put the password of the Sentinels into REDIS_SENTINEL_PASSWORD; that of the servers stands in REDIS_HOST", "%s", troubleOf(w.redis.err))
	}
	advice, refused := "put the password into REDIS_HOST, as redis://:password@host:port", troubleOf(w.redis.err)
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

// unserved returns why what this worker has to keep is taken by no server, though some answer, or nil.
func unserved(w *facts) *cache.ServerError {
	var said *cache.ServerError
	_, missing := missingRight(w.redis.scripts)
	if missing || !errors.As(w.redis.scripts, &said) || said.Advice == "" {
		return nil
	}
	return said
}

// troubleOf is what an error says without its advice, for which a check has an arrow.
func troubleOf(err error) string {
	var said *cache.ServerError
	var late *unanswered
	switch {
	case err == nil:
		return ""
	case errors.As(err, &late) || !errors.As(err, &said):
		return err.Error()
	}
	return said.Trouble()
}

// asked is what the error of a single server begins with. Others say themselves what was asked.
func asked(cfg *config) string {
	if cfg.manyRedis() {
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
	s := w.redis.server
	following := fmt.Sprintf("%d of the %s that min-replicas-to-write asks for", s.Followers, counted(s.WantsFollowers, "replica"))
	switch {
	case s.Role == "slave":
		return fail("set REDIS_HOST to the primary; with Sentinel, see whether it is at work on a failover", "a replica, which takes no writes")
	case s.WantsFollowers > s.Followers:
		return fail("bring the replicas back (their logs say why they do not follow), or lower min-replicas-to-write"+onAll(w.cfg),
			"takes no writes: %s follow", following).with("%s INFO replication", redisCLI(w))
	case s.Role == "":
		return warn("see that REDIS_HOST is the primary; to have it told here, let the user of REDIS_HOST call INFO", "not told")
	case s.WantsFollowers > 0:
		return ok("takes writes while %s follows; %d do", counted(s.WantsFollowers, "replica"), s.Followers)
	}
	return ok("takes writes")
}

func judgeScripts(w *facts) finding {
	r := &w.redis
	switch {
	case r.scripts != nil:
		return fail("let the user of REDIS_HOST run scripts, on the keys slotsync:*", "%s", troubleOf(r.scripts)).
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
		return warn("put maxmemory-policy noeviction into redis.conf: what is evicted may be a change that was never sent"+onAll(w.cfg),
			"maxmemory-policy %s", policy).with("%s CONFIG SET maxmemory-policy noeviction", redisCLI(w))
	}
}

func judgeAppendOnly(w *facts) finding {
	switch w.redis.server.AppendOnly {
	case "1":
		return ok("on")
	case "0":
		return warn("put appendonly yes into redis.conf: what a restart forgets may be a change that was never sent"+onAll(w.cfg), "off").
			with("%s CONFIG SET appendonly yes", redisCLI(w))
	default:
		return warn("see that appendonly is on: what a restart forgets may be a change that was never sent", "not told")
	}
}

func judgeMemory(w *facts) finding {
	s := w.redis.server
	advice := "raise maxmemory, or make room: on a full server nothing new can be sent" + onAll(w.cfg)
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
