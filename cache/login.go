package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// login opens connections: it shows who we are, and chooses the database. The library would know one password for its
// whole life, or read one for each connection; but the servers and the file that it is from are never changed in the
// same moment. So each server is shown what it accepted last until it refuses that, then what others accepted, and only
// then what the setting says by now.
type login struct {
	read func() (credentials, error) // what the setting says now
	db   int
	warn func(string)

	mu       sync.Mutex             // guards all below
	accepted map[string]credentials // last, by each server
	known    []credentials          // the one that any server accepted last, or the first to show; and the one before
}

// newLogin returns one that begins with what the setting says at the start.
func newLogin(first credentials, read func() (credentials, error)) *login {
	return &login{read: read, accepted: map[string]credentials{}, known: []credentials{first}}
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
	server := cn.String()
	candidates := l.candidates(server)
	var refusal error
	for _, shown := range candidates {
		if refusal = shown.show(ctx, cn); refusal == nil {
			l.accept(server, shown, shown)
		}
		if !refuses(refusal) {
			return refusal
		}
	}
	given, err := l.read()
	if err != nil {
		return fmt.Errorf("%w; and there is no other password: %w", refusal, err)
	}
	if !slices.Contains(candidates, given) {
		if refusal = given.show(ctx, cn); refusal == nil {
			l.accept(server, given, given)
			return nil
		}
	}
	if alone := (credentials{password: given.password}); alone != given && alone.password != "" && refuses(refusal) {
		if cn.Auth(ctx, alone.password).Err() == nil {
			l.accept(server, alone, given)
			return nil
		}
	}
	return refusal
}

// candidates are what a server is shown before the setting is read again.
func (l *login) candidates(server string) []credentials {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []credentials
	if last, has := l.accepted[server]; has {
		all = append(all, last)
	}
	for _, other := range l.known {
		if !slices.Contains(all, other) {
			all = append(all, other)
		}
	}
	return all
}

func (l *login) accept(server string, who, given credentials) {
	l.mu.Lock()
	news := !slices.Contains(l.known, who)
	l.accepted[server] = who
	if l.known[0] != who {
		l.known = []credentials{who, l.known[0]}
	}
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
