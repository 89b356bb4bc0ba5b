package cache

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"
)

// SentinelState is what one Sentinel says.
type SentinelState struct {
	Addr   string // of the Sentinel, as it was given
	Master string // where the master is, host:port; empty: it knows none of that name
	Err    error  // it did not answer, or not that
}

// AskSentinels asks each Sentinel of c, and none that they know of, where the master is. It is no error of the whole that
// some do not answer: a client needs one of them, and a failover most.
func AskSentinels(ctx context.Context, c Config) ([]SentinelState, error) {
	options, err := c.clientOptions()
	if err != nil {
		return nil, err
	}
	options.Username, options.Password, options.DB = "", "", 0 // which are those of the servers
	options.OnConnect = c.Sentinel.login().open
	all := make([]SentinelState, len(c.Sentinel.Addrs))
	var asking sync.WaitGroup
	for i, addr := range c.Sentinel.Addrs {
		asking.Go(func() {
			options := *options
			options.Addr = addr
			sentinel := redis.NewSentinelClient(&options)
			defer sentinel.Close()
			all[i] = SentinelState{Addr: addr}
			switch at, err := sentinel.GetMasterAddrByName(ctx, c.Sentinel.Master).Result(); {
			case errors.Is(err, redis.Nil):
			case err != nil:
				all[i].Err = err
			case len(at) == 2:
				all[i].Master = net.JoinHostPort(at[0], at[1])
			}
		})
	}
	asking.Wait()
	return all, nil
}
