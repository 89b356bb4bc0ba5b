package wiw

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultLoginURL is where the vendor's login is.
const DefaultLoginURL = "https://api.login.wheniwork.com/login"

// LoginConfig says where and as whom to log in. Only Credentials is required; other zero values mean the default.
type LoginConfig struct {
	// URL of the login; default DefaultLoginURL. One whose path ends in /2/login is the API's older login, which is
	// given the e-mail address as username too.
	URL string

	// Credentials is called before each login, so that a secret that was replaced is found.
	Credentials func() (Credentials, error)

	Timeout time.Duration // longest time that an answer may take as a whole; default 30 s

	// OnAttempt is told of each attempt that has ended, well or not. OnLogin is told of each login that gave a token, and
	// when that ends. OnLate is told when a new login before the end of the token in hand went wrong. Each may be nil
	// and must not block.
	OnAttempt func()
	OnLogin   func(ends time.Time)
	OnLate    func(ends time.Time, err error)

	Transport http.RoundTripper // replaces the HTTP connection, for tests
}

// Credentials are what a login asks for.
type Credentials struct {
	DeveloperKey, Email, Password string
}

// identity is the same for the same credentials, and only for them.
func (c Credentials) identity() string {
	return c.DeveloperKey + "\x00" + c.Email + "\x00" + c.Password
}

// Login logs in when there is a need to: at first, before the token ends, and when it was refused. It may be used from
// several goroutines, of which one logs in and the others wait.
type Login struct {
	url         *url.URL
	credentials func() (Credentials, error)
	timeout     time.Duration
	onAttempt   func()
	onLogin     func(time.Time)
	onLate      func(time.Time, error)
	http        *http.Client
	transport   *http.Transport // nil if it is not ours

	hold  hold
	turn  chan struct{} // full while somebody has the turn to use what is below
	token string        // empty: none, or it was refused
	given time.Time     // when the token was
	renew time.Time     // when to log in again though it still lasts
	ends  time.Time
	early bool // the token was refused soon after it was given
}

const (
	usualLife = 7 * 24 * time.Hour // of a token that does not say when it ends
	soon      = time.Hour          // a token that does not live so long will not be helped by another one
)

// NewLogin returns a login. It asks nothing yet. The error names every fault of the configuration.
func NewLogin(cfg LoginConfig) (*Login, error) {
	at, errURL := parseURL(cmp.Or(cfg.URL, DefaultLoginURL))
	err := errors.Join(
		errURL,
		wrong(cfg.Credentials == nil, "credentials: none"),
		wrong(cfg.Timeout < 0, "timeout: negative"),
	)
	if err != nil {
		return nil, err
	}
	l := &Login{
		url:         at,
		credentials: cfg.Credentials,
		timeout:     cmp.Or(cfg.Timeout, 30*time.Second),
		onAttempt:   cfg.OnAttempt,
		onLogin:     cfg.OnLogin,
		onLate:      cfg.OnLate,
		// An account may be locked by wrong passwords, and nothing is won by trying one often.
		hold: hold{least: time.Minute, most: time.Hour},
		turn: make(chan struct{}, 1),
	}
	through := cfg.Transport
	if through == nil {
		l.transport = newTransport()
		through = l.transport
	}
	l.http = newHTTP(through)
	return l, nil
}

// Close drops idle connections. A login that is under way is not disturbed.
func (l *Login) Close() error {
	if l.transport != nil {
		l.transport.CloseIdleConnections()
	}
	return nil
}

var _ TokenSource = (*Login)(nil).Token

// Token is a TokenSource. What the login answers instead of a token is a *StatusError. After a refusal nothing is asked
// for a while, from a minute to an hour and longer each time, unless the credentials have become others; until then
// Token returns the refusal again.
func (l *Login) Token(ctx context.Context, refused string) (string, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	now := time.Now()
	if refused != "" && refused == l.token {
		l.token, l.early = "", now.Sub(l.given) < soon
	}
	switch {
	case l.token == "" || !now.Before(l.ends):
		if err := l.logIn(ctx, persistence(nil).persist); err != nil {
			return "", fmt.Errorf("log in: %w", err)
		}
	case !now.Before(l.renew):
		l.logInAgain(ctx)
	}
	return l.token, nil
}

// logInAgain logs in while the token in hand still lasts, which is why one attempt will do.
func (l *Login) logInAgain(ctx context.Context) {
	err := l.logIn(ctx, tryOnce)
	if err == nil || ctx.Err() != nil {
		return
	}
	left := time.Until(l.ends)
	l.renew = time.Now().Add(min(max(left/10, time.Minute), time.Hour))
	if l.onLate != nil {
		l.onLate(l.ends, fmt.Errorf("log in: %w", err))
	}
}

// tryOnce is persist for those who can wait.
func tryOnce(ctx context.Context, name string, attempt func() *failure) (*failure, error) {
	f := attempt()
	switch {
	case f == nil:
		return nil, nil
	case f.verdict == stopped:
		return f, f.err
	case ctx.Err() != nil:
		return &failure{verdict: stopped}, fmt.Errorf("%s: %w", name, context.Cause(ctx))
	}
	return f, fmt.Errorf("%s: %w", name, f.err)
}

type trying func(ctx context.Context, name string, attempt func() *failure) (*failure, error)

func (l *Login) logIn(ctx context.Context, try trying) error {
	who, err := l.credentials()
	if err != nil {
		return err
	}
	if err := l.hold.check(who.identity()); err != nil {
		return fmt.Errorf("%s: %w", l.name(), err)
	}
	var token string
	f, err := try(ctx, l.name(), func() (f *failure) {
		token, f = l.attempt(ctx, who)
		if l.onAttempt != nil {
			l.onAttempt()
		}
		return f
	})
	switch {
	case f == nil:
		l.took(token)
	case f.wantsRest():
		l.hold.begin(f, "")
	case f.verdict == refused || f.verdict == final:
		l.hold.begin(f, who.identity())
	}
	return err
}

// took begins to use a token.
func (l *Login) took(token string) {
	now := time.Now()
	life := lifeOf(token, now)
	l.token, l.given, l.ends = token, now, now.Add(life)
	// The vendor asks for a new login two days before the end of a week. Whatever a token says of its life, it does
	// not make us log in more often than once a second.
	l.renew = now.Add(max(life-min(nearEnd, life/3), time.Second))
	if l.early {
		l.early = false
		l.hold.begin(&failure{err: errors.New("the API refused the last token soon after it was given: is WIW_USER_ID a user (not an account) of this login, and does the token come from the API's own login?")}, "")
	} else {
		l.hold.end()
	}
	if l.onLogin != nil {
		l.onLogin(l.ends)
	}
}

// lifeOf returns how long a new token lasts. What it says of its end is compared with when it was issued rather than
// with our clock, if our clock seems to be wrong.
func lifeOf(token string, now time.Time) time.Duration {
	issued, ends := claims(token)
	if ends.IsZero() {
		return usualLife
	}
	life := ends.Sub(now)
	if whole := ends.Sub(issued); !issued.IsZero() && whole > 0 && (life <= 0 || life > whole) {
		life = whole
	}
	if life <= 0 {
		return usualLife
	}
	return life
}

func (l *Login) name() string { return http.MethodPost + " " + shown(l.url) }

// older tells whether the login is the API's own of before there was a separate one.
func (l *Login) older() bool {
	return strings.HasSuffix(strings.TrimRight(l.url.Path, "/"), "/2/login")
}
