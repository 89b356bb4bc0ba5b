package cache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Config says where Redis is.
type Config struct {
	// URL begins with redis://, rediss:// (TLS) or unix://; without a scheme it is host:port. It may carry a user, a
	// password and the number of a database. With Sentinel or Cluster, its host is not used.
	URL string
	// Sentinel tells where the master is. Its zero value is none.
	Sentinel Sentinel
	// Cluster has the addresses, host:port, of some nodes of a Redis Cluster. Empty: it is none.
	Cluster []string
	// TLS is used with rediss:// in place of the defaults, and refused with anything else.
	TLS *tls.Config
	// Warn is told, once, that the server refused the user of the URL and that the password is tried without it. It may
	// be nil.
	Warn func(message string)
}

// Client is a connection to Redis, whatever stands behind it.
type Client = redis.UniversalClient

// Dial returns a client for what c says. It does not wait for a connection: those are made when they are needed. Its
// errors contain nothing of the URL.
func Dial(c Config) (Client, error) {
	logging.Disable() // the library prints failed dials to stderr by itself; its logger is one for the process
	options, err := c.options()
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if c.TLS != nil {
		if options.TLSConfig == nil {
			return nil, errors.New("a certificate is set, but the URL does not begin with rediss://")
		}
		options.TLSConfig = c.TLS
	}

	options.ContextTimeoutEnabled = true // without it the end of a context is ignored while reading
	options.DialTimeout = 2 * time.Second
	options.ReadTimeout = 2 * time.Second
	options.WriteTimeout = 2 * time.Second
	options.PoolTimeout = 3 * time.Second
	options.MaxRetries = 1    // more tries are the business of who knows the deadline
	options.DialerRetries = 1 // the default is five, inside each retry
	options.DisableIdentity = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}

	login := &login{warn: c.Warn, user: options.Username, password: options.Password}
	if login.user != "" && login.password != "" {
		options.CredentialsProviderContext = login.credentials
	}
	var client Client
	switch {
	case c.Sentinel.Master != "":
		client = newFailover(c.Sentinel, options)
	case len(c.Cluster) > 0:
		client = newCluster(c.Cluster, options)
	default:
		client = newMeasured(options)
	}
	if options.CredentialsProviderContext != nil {
		client.AddHook(login)
	}
	return client, nil
}

// CheckURL returns what is wrong with the URL of c, which is not quoted, as the end of a sentence that begins with the
// name of the setting. It asks nobody.
func (c Config) CheckURL() error {
	_, err := c.options()
	return err
}

// options are those that the URL gives.
func (c Config) options() (*redis.Options, error) {
	options, err := parse(c.URL)
	if err != nil {
		return nil, err
	}
	cluster, sentinel := len(c.Cluster) > 0, c.Sentinel.Master != ""
	switch {
	case !cluster && !sentinel:
	case options.Network == "unix":
		return nil, errors.New("names a socket, but Sentinel and Cluster tell addresses: give redis://user:password@host, whose host is not used")
	case options.TLSConfig != nil:
		return nil, errors.New("begins with rediss://, but TLS is not supported yet with Sentinel and Cluster")
	case cluster && options.DB != 0:
		return nil, errors.New("names a database, but a Redis Cluster has only one: leave it out")
	}
	return options, nil
}

// errURL is all that is said of a bad URL: any part of it may turn out to be a part of the password.
var errURL = errors.New("cannot be read; it should be redis://[user:password@]host[:port][/database], " +
	"rediss://... or unix:///path, with special characters of the password percent-encoded")

func parse(address string) (*redis.Options, error) {
	address = strings.TrimSpace(address)
	if !strings.Contains(address, "://") {
		address = "redis://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Fragment != "" {
		return nil, errURL
	}
	if u.Host == "" && u.Scheme != "unix" {
		return nil, errURL
	}
	options, err := redis.ParseURL(address)
	if err != nil {
		return nil, errURL
	}
	return options, nil
}

// login drops a user that the server refuses: slot_sync's client ignored the one in the URL, and its deployments may
// carry any. It is dropped once and for good, and the command that met the refusal is tried again.
type login struct {
	warn           func(string)
	user, password string
	dropped        atomic.Bool
}

func (l *login) credentials(context.Context) (user, password string, err error) {
	if l.dropped.Load() {
		return "", l.password, nil
	}
	return l.user, l.password, nil
}

// again tells whether what failed with err may succeed without the user. The refused login itself is not repeated, as
// it would be with the same words: the command that needed a connection is.
func (l *login) again(err error, had bool, commands ...redis.Cmder) bool {
	if err == nil || !had || !strings.Contains(err.Error(), "WRONGPASS") || lostSentinels(err) {
		return false
	}
	for _, cmd := range commands {
		if cmd.Name() == "hello" || cmd.Name() == "auth" {
			return false
		}
	}
	if l.dropped.CompareAndSwap(false, true) && l.warn != nil {
		l.warn("Redis refused the user of its URL; going on with the password alone, as slot_sync did")
	}
	for _, cmd := range commands {
		cmd.SetErr(nil)
	}
	return true
}

// DialHook is part of redis.Hook.
func (l *login) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook is part of redis.Hook.
func (l *login) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		had := !l.dropped.Load()
		err := next(ctx, cmd)
		if l.again(err, had, cmd) {
			err = next(ctx, cmd)
		}
		return err
	}
}

// ProcessPipelineHook is part of redis.Hook.
func (l *login) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		had := !l.dropped.Load()
		err := next(ctx, commands)
		if l.again(err, had, commands...) {
			err = next(ctx, commands)
		}
		return err
	}
}
