package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/sasl"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// OAuth says where a client gets tokens for OAUTHBEARER, with the grant client_credentials.
type OAuth struct {
	TokenURL   string
	ClientID   string
	Secret     func() (string, error) // asked for with each token
	Scopes     []string
	Audience   string            // asked for; empty: the endpoint's own choice
	Extensions map[string]string // sent to the broker beside the token
	HTTP       *http.Client      // that the token is asked for with; nil: http.DefaultClient. See ErrRefused
}

// tokenPatience is how long a login waits for a token from elsewhere, beside what the broker takes.
const tokenPatience = 2500 * time.Millisecond

// OAuthLogin logs in with OAUTHBEARER.
func OAuthLogin(o OAuth) *Login {
	t := &tokens{fetch: o.fetcher()}
	return &Login{
		mechanism: "OAUTHBEARER",
		look:      "does it trust tokens of KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL, with that KAFKA_SASL_OAUTHBEARER_SCOPE, _AUDIENCE and _EXTENSIONS?",
		patience:  tokenPatience,
		start: func(ctx context.Context, _ string) (sasl.Mechanism, error) {
			token, err := t.token(ctx)
			return bearer{token, o.Extensions}, err
		},
		secret: o.Secret,
		forget: t.forget,
	}
}

// tokens keeps a token for the first half of its life. A session at a broker ends with its token: one that begins late
// in the life of a token would be over soon.
type tokens struct {
	fetch func(ctx context.Context) (*oauth2.Token, error)

	mu   sync.Mutex // guards what follows; held while a token is fetched, so that one is fetched for all
	last string
	kept bool      // last has served before
	good time.Time // until when last is used
}

func (t *tokens) token(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.last != "" && now.Before(t.good) {
		t.kept = true
		return t.last, nil
	}
	token, err := t.fetch(ctx)
	if err != nil {
		return "", err
	}
	t.last, t.kept, t.good = token.AccessToken, false, now.Add(token.Expiry.Sub(now)/2)
	return t.last, nil
}

func (t *tokens) forget() (kept bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = ""
	return t.kept
}

func (o OAuth) fetcher() func(ctx context.Context) (*oauth2.Token, error) {
	// Nobody tells how the client is to be shown, so the usual way is tried first. Each try with a wrong secret counts,
	// so what has worked once is kept to.
	config := &clientcredentials.Config{ClientID: o.ClientID, TokenURL: o.TokenURL, Scopes: o.Scopes, AuthStyle: oauth2.AuthStyleInHeader}
	if o.Audience != "" {
		config.EndpointParams = url.Values{"audience": {o.Audience}}
	}
	known := false
	return func(ctx context.Context) (*oauth2.Token, error) {
		secret, err := o.Secret()
		if err != nil {
			return nil, err
		}
		config.ClientSecret = secret
		if o.HTTP != nil {
			ctx = context.WithValue(ctx, oauth2.HTTPClient, o.HTTP)
		}
		token, err := o.fetch(ctx, config)
		var refused refusedToken
		if errors.As(err, &refused) && !known {
			config.AuthStyle = oauth2.AuthStyleInParams
			token, err = o.fetch(ctx, config)
		}
		known = known || err == nil
		if !known {
			config.AuthStyle = oauth2.AuthStyleInHeader
		}
		return token, err
	}
}

func (o OAuth) fetch(ctx context.Context, config *clientcredentials.Config) (*oauth2.Token, error) {
	token, err := config.Token(ctx)
	if err != nil {
		return nil, o.explain(err)
	}
	if token.AccessToken == "" || regexp.MustCompile(`[^\x21-\x7e]`).MatchString(token.AccessToken) {
		return nil, refusedToken(o.where() + " answers without a usable access_token: is it a token endpoint?")
	}
	return token, nil
}

// refusedToken is an answer of a token endpoint that would be the same the next time.
type refusedToken string

func (r refusedToken) Error() string { return string(r) }

// Is makes it an ErrRefused.
func (r refusedToken) Is(target error) bool { return target == ErrRefused }

// ErrRefused is a no to what was shown on the way to a token, which would be refused again. What OAuth.HTTP returns may
// be one, if a proxy says it.
var ErrRefused = errors.New("refused")

// errUnavailable is a token endpoint that cannot answer now.
var errUnavailable = errors.New("not available")

// explain drops the answer's body, which may hold anything.
func (o OAuth) explain(err error) error {
	var refused *oauth2.RetrieveError
	var network *url.Error
	switch {
	case errors.As(err, &refused):
		status := fmt.Sprint(refused.Response.StatusCode, " ", http.StatusText(refused.Response.StatusCode))
		if code := refused.ErrorCode; regexp.MustCompile(`^[a-z_]{1,60}$`).MatchString(code) {
			status += ", " + code
		}
		if refused.Response.StatusCode >= 500 || refused.Response.StatusCode == http.StatusTooManyRequests {
			return fmt.Errorf("%s gives no token: %w (%s)", o.where(), errUnavailable, status)
		}
		return refusedToken(fmt.Sprintf("%s gives no token (%s): look at KAFKA_SASL_OAUTHBEARER_CLIENT_ID, _CLIENT_SECRET, _SCOPE and _AUDIENCE", o.where(), status))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer of %s within %s (%s?): %w", o.where(), tokenPatience, isEndpointRight, context.DeadlineExceeded)
	case errors.As(err, &network):
		return unreachedEndpoint(fmt.Errorf("%s: %w", o.where(), network.Err))
	}
	if strings.HasPrefix(err.Error(), "oauth2: cannot fetch token: ") { // which has no type
		return fmt.Errorf("%s gives no token: %w (its answer breaks off)", o.where(), errUnavailable)
	}
	return refusedToken(o.where() + " gives no token: what it answers cannot be read")
}

const isEndpointRight = "is KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL right"

// unreachedEndpoint says which setting may be wrong if nobody was reached.
func unreachedEndpoint(err error) error {
	var way *net.OpError
	isWay := errors.As(err, &way)
	switch {
	case isWay && way.Op == "proxyconnect" && !mustBeMended(err):
		return fmt.Errorf("%w; is HTTPS_PROXY (or HTTP_PROXY) right, and the proxy up?", err)
	case isWay && way.Op == "dial", errors.Is(err, io.EOF):
		return fmt.Errorf("%w; %s, and the endpoint up?", err, isEndpointRight)
	}
	return err
}

// where is the URL without anything that may be secret.
func (o OAuth) where() string {
	u, err := url.Parse(o.TokenURL)
	if err != nil {
		return "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
