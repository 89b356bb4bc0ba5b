package cache

import (
	"context"
	"fmt"
	"strings"
)

// Stranded returns the destinations of the same topic and name on other Kafka clusters than the given one whose
// intents were never settled, and how many each has: changes that will not arrive unless a worker goes back there.
// It walks through all keys of all masters, so its context should be bounded.
func Stranded(ctx context.Context, client Client, clusterID, topic, name string) (map[string]int64, error) {
	_, rest, _ := strings.Cut(Destination("", topic, name), "/")
	own := keysOf(Destination(clusterID, topic, name)).intents
	pattern := keysOf("*/" + globbed(rest)).intents
	stranded := map[string]int64{}
	err := walk(ctx, client, pattern, func(one Client, keys []string) error {
		for _, key := range keys {
			destination := strings.TrimSuffix(strings.TrimPrefix(key, "slotsync:{"), "}:intents")
			if cluster, _, _ := strings.Cut(destination, "/"+rest); key == own || strings.Contains(cluster, "/") {
				continue // ours, or another topic whose name ends alike
			}
			open, err := one.HLen(ctx, key).Result()
			if err != nil {
				return fmt.Errorf("hlen %s: %w", key, err)
			}
			if open > 0 {
				stranded[destination] = open
			}
		}
		return nil
	})
	if err != nil {
		return stranded, fmt.Errorf("look for open intents of other clusters: %w", explain(client, err))
	}
	return stranded, nil
}

// globbed escapes what SCAN would take for a pattern.
func globbed(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}
