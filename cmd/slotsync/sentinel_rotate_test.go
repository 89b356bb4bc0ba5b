package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotsync/slotsync/cache/cachetest"
	"github.com/slotsync/slotsync/cmd/mini/world"
)

// With a real master and its Sentinels, each of which has a password of its own, and the worker as a process.
func TestThePasswordOfTheSentinelsIsReplacedWhileTheWorkerRuns(t *testing.T) {
	fromStack(t, "SLOTSYNC_TEST_REDIS") // whoever has a stack has what it takes to start more
	for order, fileFirst := range map[string]bool{"the Sentinels first": false, "the file first": true} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			master, err := cachetest.Start(t.TempDir(), "--requirepass", hush)
			started(t, master)(err)
			sentinels, err := cachetest.StartSentinels(t.TempDir(), master, 2, "--requirepass", firstSecret)
			started(t, sentinels...)(err)
			for _, s := range sentinels { // somebody whose password stays
				if err := s.Do(t.Context(), "ACL", "SETUSER", "keeper", "on", ">"+hush, "+@all", "~*", "&*"); err != nil {
					t.Fatal(err)
				}
			}
			do := func(s *cachetest.Server, user string, args ...any) {
				t.Helper()
				c := redis.NewClient(&redis.Options{Addr: s.Addr, Username: user, Password: hush})
				defer c.Close()
				if err := c.Do(t.Context(), args...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			password := file(t, firstSecret+"\n")
			w := start(t, world.Options{Shifts: 30, Partitions: 2})
			p := launchIn(t, w, env{
				"REDIS_HOST": redisAt("redis", "", hush, "nowhere"), "REDIS_SENTINEL_MASTER": cachetest.MasterName,
				"REDIS_SENTINEL_ADDRS": strings.Join(sentinels.Addrs(), ","), "REDIS_SENTINEL_PASSWORD_FILE": password,
				"SYNC_SLEEP_PERIOD_SECONDS": "0", "WIW_RATE": "6000", "LOG_LEVEL": "debug",
			})
			more := func() {
				t.Helper()
				p.until(t, good, strings.Count(p.String(), good)+2) // the first may have begun before
			}
			turn := func() {
				t.Helper()
				for _, s := range sentinels {
					do(s, "keeper", "ACL", "SETUSER", "default", "resetpass", ">"+thenSecret)
				}
			}
			// cut ends the connections to all, so that the Sentinels are asked anew.
			cut := func() {
				t.Helper()
				for _, s := range sentinels {
					do(s, "keeper", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
				}
				do(master, "", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
			}
			const refused = "the password of the Sentinels stands in REDIS_SENTINEL_PASSWORD"
			more() // nothing is to be sent: a batch whose remembering is cut off would be sent again
			if fileFirst {
				replace(t, password, thenSecret+"\n")
				cut()
				more()
				turn()
				cut()
			} else {
				turn()
				cut()
				p.until(t, refused, 1)
				replace(t, password, thenSecret+"\n")
			}
			more()
			w.API.Churn(10)
			more()
			p.signal(t, syscall.SIGTERM)
			if code := p.exit(t, time.Minute); code != 0 {
				t.Errorf("got exit %d\n%s", code, p)
			}
			if fileFirst && strings.Contains(p.String(), refused) {
				t.Errorf("it was refused though the file was there in time:\n%s", p)
			}
			for _, secret := range []string{firstSecret, thenSecret, hush} {
				if strings.Contains(p.all(), secret) {
					t.Errorf("a secret is in\n%s", p)
				}
			}
			eachOnce(t, inStep(t, w))
		})
	}
}
