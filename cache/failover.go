package cache

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Sentinel says how to find the master of a group of servers, one of which takes its place when it fails.
type Sentinel struct {
	Master string   // its name in Sentinel's configuration
	Addrs  []string // of some Sentinels, host:port
	// Password returns that of the Sentinels as it is now; that of the servers stands in the URL. Nil, or empty: none.
	Password func() (string, error)
}

// failover is a client for the master that Sentinel tells of.
type failover struct {
	*redis.Client
	name    string
	address atomic.Pointer[string] // of the master that was reached last
}

// askSentinel bounds each question to a Sentinel, of which three have to find room in one dial.
const askSentinel = 400 * time.Millisecond

func newFailover(s Sentinel, o *redis.Options) *failover {
	options := &redis.FailoverOptions{
		MasterName:    s.Master,
		SentinelAddrs: s.Addrs,

		Dialer: o.Dialer, OnConnect: o.OnConnect, TLSConfig: o.TLSConfig,
		DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, PoolTimeout: o.PoolTimeout,
		ContextTimeoutEnabled: o.ContextTimeoutEnabled, MaxRetries: o.MaxRetries, DialerRetries: o.DialerRetries,
		DisableIdentity: o.DisableIdentity,
	}
	f := &failover{Client: redis.NewFailoverClient(options), name: s.Master}
	// The library stays with the Sentinel that answered last, and asks another one only if it gets a clear no before the
	// dial's own end. With the timeouts of a server, one that hangs would keep every new connection from being made. The
	// servers' own were copied: of these options it goes on to read, for both, the Dialer alone, whose context ends with the
	// timeout of who is dialed.
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = askSentinel, askSentinel, askSentinel
	options.MaxRetries = -1
	options.OnConnect = s.login().open
	f.AddHook(f)
	f.AddHook(measure{})
	return f
}

// login is that of the Sentinels.
func (s Sentinel) login() *login {
	read := func() (credentials, error) {
		if s.Password == nil {
			return credentials{}, nil
		}
		password, err := s.Password()
		return credentials{password: password}, err
	}
	who, _ := read() // what is wrong with it is told when it is needed
	return newLogin(who, read)
}

// where names the master as far as it is known.
func (f *failover) where() string {
	if address := f.address.Load(); address != nil {
		return f.name + " (" + *address + ")"
	}
	return f.name
}

// DialHook is part of redis.Hook.
func (f *failover) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := next(ctx, network, address)
		if err == nil {
			reached := conn.RemoteAddr().String()
			f.address.Store(&reached)
		}
		return conn, err
	}
}

// ProcessHook is part of redis.Hook.
func (f *failover) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook is part of redis.Hook.
func (f *failover) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// unreachable is what the library says, before the reasons, when no Sentinel told where the master is.
const unreachable = "all sentinels specified in configuration are unreachable"

// lostSentinels tells whether err says so, for which the library has no other sign.
func lostSentinels(err error) bool { return strings.Contains(err.Error(), unreachable) }
