package cachetest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/slotsync/slotsync/cache/cachetest"
	"github.com/slotsync/slotsync/sync/stacktest"
)

// What the server has started to rewrite its file goes on for a moment when only the server is killed.
func TestCloseLeavesNothingBehind(t *testing.T) {
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
	started := children(t, s)
	if len(started) == 0 {
		t.Fatal("the server has started nothing")
	}
	s.Close()
	for _, pid := range started {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if _, after, _ := strings.Cut(string(stat), ") "); err == nil && !strings.HasPrefix(after, "Z") { // a zombie does nothing
			t.Errorf("process %s is still there: %s", pid, stat)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// children are the processes that a server has started.
func children(t *testing.T, s *cachetest.Server) []string {
	t.Helper()
	c := s.Client()
	defer c.Close()
	info, err := c.Info(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(info, "process_id:")
	pid, _, _ := strings.Cut(after, "\r")
	files, err := filepath.Glob("/proc/" + pid + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Fields(string(content))...)
	}
	return all
}
