//go:build unix

package cachetest_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotsync/slotsync/cache/cachetest"
	"github.com/slotsync/slotsync/sync/stacktest"
)

// What the server has started to rewrite its file goes on writing when only the server is killed.
func TestCloseEndsWhatTheServerHasStarted(t *testing.T) {
	stacktest.Told(t, "SLOTSYNC_TEST_REDIS") // whoever has a stack has what it takes to start one more
	dir := t.TempDir()
	s, err := cachetest.Start(dir, "--rdb-key-save-delay", "1000000", "--aof-use-rdb-preamble", "yes") // a second for each key
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	ctx := context.WithoutCancel(t.Context())
	for i := range 300 {
		if err := s.Do(ctx, "set", fmt.Sprint("key", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Do(ctx, "bgrewriteaof"); err != nil {
		t.Fatal(err)
	}
	err = s.Wait("it rewrites its file", func(ctx context.Context, c *redis.Client) (bool, error) {
		info, err := c.Info(ctx, "persistence").Result()
		return strings.Contains(info, "aof_rewrite_in_progress:1"), err
	})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.Close()
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %s, as long as the rest of the file", took)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}
