package cache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
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
	// Fresh returns the URL as it is now, for a user or password that is refused. Nil: it does not change.
	Fresh func() (string, error)
	// Sentinel tells where the master is. Its zero value is none.
	Sentinel Sentinel
	// Cluster has the addresses, host:port, of some nodes of a Redis Cluster. Empty: it is none.
	Cluster []string
	// DialTLS makes the connections of a rediss:// URL, those to Sentinels included. Nil: with the system's roots, and
	// without a certificate of ours.
	DialTLS Dialer
	// Warn is told, once, that the server refused the user of the URL and that the password is tried without it. It may
	// be nil.
	Warn func(message string)
}

// Dialer makes a connection to host:port.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// Client is a connection to Redis, whatever stands behind it.
type Client = redis.UniversalClient

// Dial returns a client for what c says. It does not wait for a connection: those are made when they are needed. Its
// errors contain nothing of the URL.
func Dial(c Config) (Client, error) {
	options, err := c.clientOptions()
	if err != nil {
		return nil, err
	}
	login := newLogin(credentials{options.Username, options.Password}, c.reader(*options))
	login.warn, login.db = c.Warn, options.DB
	options.OnConnect = login.open
	options.Username, options.Password, options.DB = "", "", 0 // which the library would send by itself, and before
	switch {
	case c.Sentinel.Master != "":
		return newFailover(c.Sentinel, options), nil
	case len(c.Cluster) > 0:
		return newCluster(c.Cluster, options), nil
	default:
		return newMeasured(options), nil
	}
}

// clientOptions are those of any client that c asks for, except for how it logs in.
func (c Config) clientOptions() (*redis.Options, error) {
	logging.Disable() // the library prints failed dials to stderr by itself; its logger is one for the process
	options, err := c.options()
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	options.Dialer = c.dialer(options)
	options.ContextTimeoutEnabled = true // without it the end of a context is ignored while reading
	options.DialTimeout = 2 * time.Second
	options.ReadTimeout = 2 * time.Second
	options.WriteTimeout = 2 * time.Second
	options.PoolTimeout = 3 * time.Second
	options.MaxRetries = 1    // more tries are the business of who knows the deadline
	options.DialerRetries = 1 // the default is five, inside each retry
	options.DisableIdentity = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return options, nil
}

// dialer returns what makes connections. The library's own does not look at the end of the context while it speaks TLS.
func (c Config) dialer(o *redis.Options) Dialer {
	plain := &net.Dialer{KeepAlive: 30 * time.Second}
	switch {
	case o.TLSConfig == nil:
		return plain.DialContext
	case c.DialTLS != nil && !o.TLSConfig.InsecureSkipVerify:
		return c.DialTLS
	}
	config := o.TLSConfig.Clone()
	if c.manyServers() {
		config.ServerName = "" // that of each server
	}
	return (&tls.Dialer{NetDialer: plain, Config: config}).DialContext
}

// manyServers tells whether addresses are learned from Sentinels or nodes.
func (c Config) manyServers() bool { return c.Sentinel.Master != "" || len(c.Cluster) > 0 }

// CheckURL returns what is wrong with the URL of c, which is not quoted, as the end of a sentence that begins with the
// name of the setting. It asks nobody.
func (c Config) CheckURL() error {
	_, err := c.options()
	return err
}

// Unverified tells whether the URL says skip_verify, by which any certificate is taken for the right one.
func (c Config) Unverified() bool {
	o, err := c.options()
	return err == nil && o.TLSConfig != nil && o.TLSConfig.InsecureSkipVerify
}

// options are those that the URL gives.
func (c Config) options() (*redis.Options, error) {
	options, parameters, err := parse(c.URL)
	if err != nil {
		return nil, err
	}
	parameters.Del("skip_verify")
	parameters.Del("db")
	switch {
	case !c.manyServers():
	case len(parameters) > 0:
		return nil, errors.New("has parameters behind a question mark, of which only skip_verify and db go with Sentinel and Cluster: leave the others out")
	case options.Network == "unix":
		return nil, errors.New("names a socket, but Sentinel and Cluster tell addresses: give redis://user:password@host, whose host is not used")
	case len(c.Cluster) > 0 && options.DB != 0:
		return nil, errors.New("names a database, but a Redis Cluster has only one: leave it out")
	}
	return options, nil
}

// errURL is all that is said of a bad URL: any part of it may turn out to be a part of the password.
var errURL = errors.New("cannot be read; it should be redis://[user:password@]host[:port][/database], " +
	"rediss://... or unix:///path, with special characters of the password percent-encoded")

func parse(address string) (*redis.Options, url.Values, error) {
	address = strings.TrimSpace(address)
	if !strings.Contains(address, "://") {
		address = "redis://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Fragment != "" {
		return nil, nil, errURL
	}
	if u.Host == "" && u.Scheme != "unix" {
		return nil, nil, errURL
	}
	options, err := redis.ParseURL(address)
	if err != nil {
		return nil, nil, errURL
	}
	return options, u.Query(), nil
}
