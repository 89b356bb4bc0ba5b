package cache

import (
	"context"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"
)

func newCluster(addrs []string, o *redis.Options) *redis.ClusterClient {
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrs,

		Dialer: o.Dialer, OnConnect: o.OnConnect, TLSConfig: o.TLSConfig,
		DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, PoolTimeout: o.PoolTimeout,
		ContextTimeoutEnabled: o.ContextTimeoutEnabled, DialerRetries: o.DialerRetries,
		DisableIdentity: o.DisableIdentity, MaintNotificationsConfig: o.MaintNotificationsConfig,

		NewClient: newMeasured,

		// Else the client asks the servers for the table of all commands, and sends some to all of them, unasked.
		DisableRoutingPolicies: true,
	})
}

// onEachMaster calls do for each server that holds keys, one at a time, and returns an error of one of them.
func onEachMaster(ctx context.Context, client Client, do func(one Client) error) error {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return do(client)
	}
	var turn sync.Mutex // the library calls for all at the same time
	return cluster.ForEachMaster(ctx, func(_ context.Context, one *redis.Client) error {
		turn.Lock()
		defer turn.Unlock()
		return do(one)
	})
}

// walk hands all keys of a pattern to see, page by page, with the server that holds them.
func walk(ctx context.Context, client Client, pattern string, see func(one Client, keys []string) error) error {
	return onEachMaster(ctx, client, func(one Client) error {
		for cursor := uint64(0); ; {
			keys, next, err := one.Scan(ctx, cursor, pattern, 1000).Result()
			if err != nil {
				return fmt.Errorf("scan: %w", err)
			}
			if err := see(one, keys); err != nil {
				return err
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	})
}
