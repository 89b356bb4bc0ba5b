package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"
)

// login opens connections: it shows who we are, and chooses the database. The library would know one password for its
// whole life, or read one for each connection; but the servers and the file that it is from are never changed in the
// same moment. So what was accepted last is shown until it is refused, and only then what the setting says by now.
type login struct {
	read func() (credentials, error) // what the setting says now
	db   int
	warn func(string)

	mu  sync.Mutex // guards all below
	who credentials
}

// credentials are what a server is shown. Without a password it is shown nothing.
type credentials struct{ user, password string }

// open is called with each new connection.
func (l *login) open(ctx context.Context, cn *redis.Conn) error {
	if err := l.authenticate(ctx, cn); err != nil {
		return err
	}
	if l.db == 0 {
		return nil
	}
	return cn.Select(ctx, l.db).Err()
}

// authenticate falls back to the password without its user, last: slot_sync's client ignored the one in the URL, and its
// deployments may carry any. It asks as that did: a default user without a password, whom HELLO lets in with any, is not
// who was meant.
func (l *login) authenticate(ctx context.Context, cn *redis.Conn) error {
	shown := l.last()
	refusal := shown.show(ctx, cn)
	if !refuses(refusal) {
		return refusal
	}
	given, err := l.read()
	if err != nil {
		return fmt.Errorf("%w; and there is no other password: %w", refusal, err)
	}
	if given != shown {
		if refusal = given.show(ctx, cn); refusal == nil {
			l.accepted(given, given)
			return nil
		}
	}
	if alone := (credentials{password: given.password}); alone != given && alone.password != "" && refuses(refusal) {
		if cn.Auth(ctx, alone.password).Err() == nil {
			l.accepted(alone, given)
			return nil
		}
	}
	return refusal
}

func (l *login) last() credentials {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.who
}

func (l *login) accepted(who, given credentials) {
	l.mu.Lock()
	news := l.who != who
	l.who = who
	l.mu.Unlock()
	if news && who != given && l.warn != nil {
		l.warn("Redis refused the user of its URL; going on with the password alone, as slot_sync did")
	}
}

// show logs in. Servers from before Redis 6 and some that only resemble Redis do not know HELLO.
func (c credentials) show(ctx context.Context, cn *redis.Conn) error {
	err := cn.Hello(ctx, 3, c.user, c.password, "").Err()
	switch {
	case c.password == "" && refuses(err):
		return cn.Ping(ctx).Err() // to which the answer is shorter: it teaches nothing about HELLO
	case err == nil, !isAnswer(err), refuses(err):
		return err
	case c.password == "":
		return nil
	case c.user == "":
		return cn.Auth(ctx, c.password).Err()
	default:
		return cn.AuthACL(ctx, c.user, c.password).Err()
	}
}

// refuses tells whether err is a server's answer to who does not log in as it wants.
func refuses(err error) bool {
	return err != nil && (redis.IsAuthError(err) || redis.HasErrorPrefix(err, "invalid password"))
}

// errElsewhere keeps a password from a server that it is not for.
var errElsewhere = errors.New("REDIS_HOST names another server or database by now: start again to go there")

// reader returns what reads the credentials anew from fresh, which gives the URL as it is now.
func (c Config) reader(first redis.Options) func() (credentials, error) {
	if c.Fresh == nil {
		return func() (credentials, error) { return credentials{first.Username, first.Password}, nil }
	}
	return func() (credentials, error) {
		address, err := c.Fresh()
		if err != nil {
			return credentials{}, err
		}
		now := c
		now.URL = address
		o, err := now.options()
		switch {
		case err != nil:
			return credentials{}, fmt.Errorf("REDIS_HOST %w", err)
		case !c.manyServers() && o.Addr != first.Addr, o.DB != first.DB, (o.TLSConfig == nil) != (first.TLSConfig == nil):
			return credentials{}, errElsewhere
		}
		return credentials{o.Username, o.Password}, nil
	}
}
