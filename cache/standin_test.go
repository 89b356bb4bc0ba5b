package cache_test

import (
	"strings"
	"testing"
)

// miniredis knows commands that servers before 7.4 do not, so that what runs on it need not run on them. Everything else
// here runs on both.
func TestTheStandInKnowsMoreThanServersDo(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		ctx := t.Context()
		if err := s.client.HSet(ctx, s.key("shifts"), "field", "value").Err(); err != nil {
			t.Fatal(err)
		}
		info, err := s.client.Info(ctx, "server").Result()
		old := strings.Contains(info, "redis_version:6.") || strings.Contains(info, "redis_version:7.0.") || strings.Contains(info, "redis_version:7.2.")
		if err != nil && s.mini == nil {
			t.Fatal(err)
		}
		err = s.client.HExpire(ctx, s.key("shifts"), ttl, "field").Err()
		if refused := err != nil && strings.Contains(err.Error(), "unknown command"); refused != old {
			t.Errorf("HEXPIRE: got %v, want it refused: %v", err, old)
		}
	})
}
