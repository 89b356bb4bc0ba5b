package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
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
	Extensions map[string]string // sent to the broker beside the token
	HTTP       *http.Client      // that the token is asked for with; nil: http.DefaultClient
}

// tokenPatience is how long a login waits for a token from elsewhere, beside what the broker takes.
const tokenPatience = 7 * time.Second

// OAuthLogin logs in with OAUTHBEARER.
func OAuthLogin(o OAuth) *Login {
	t := &tokens{fetch: o.fetcher()}
	return &Login{
		mechanism: "OAUTHBEARER",
		look:      "does it trust tokens of KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL, with that audience, KAFKA_SASL_OAUTHBEARER_SCOPE and _EXTENSIONS?",
		patience:  tokenPatience,
		start: func(ctx context.Context, _ string) (sasl.Mechanism, error) {
			token, err := t.token(ctx)
			return bearer{token, o.Extensions}, err
		},
		forget: t.forget,
	}
}

// tokens keeps a token for the first half of its life. A session at a broker ends with its token: one that begins late
// in the life of a token would be over soon.
type tokens struct {
	fetch func(ctx context.Context) (*oauth2.Token, error)

	mu   sync.Mutex // guards what follows; held while a token is fetched, so that one is fetched for all
	last string
	good time.Time // until when last is used
}

func (t *tokens) token(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.last != "" && now.Before(t.good) {
		return t.last, nil
	}
	token, err := t.fetch(ctx)
	if err != nil {
		return "", err
	}
	t.last, t.good = token.AccessToken, now.Add(token.Expiry.Sub(now)/2)
	return t.last, nil
}

func (t *tokens) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = ""
}

func (o OAuth) fetcher() func(ctx context.Context) (*oauth2.Token, error) {
	config := &clientcredentials.Config{ClientID: o.ClientID, TokenURL: o.TokenURL, Scopes: o.Scopes}
	return func(ctx context.Context) (*oauth2.Token, error) {
		secret, err := o.Secret()
		if err != nil {
			return nil, err
		}
		config.ClientSecret = secret
		if o.HTTP != nil {
			ctx = context.WithValue(ctx, oauth2.HTTPClient, o.HTTP)
		}
		token, err := config.Token(ctx)
		if err != nil {
			return nil, o.explain(err)
		}
		if token.AccessToken == "" || regexp.MustCompile(`[^\x21-\x7e]`).MatchString(token.AccessToken) {
			return nil, fmt.Errorf("%s answers without a usable access_token: is it a token endpoint?", o.where())
		}
		return token, nil
	}
}

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
		return fmt.Errorf("%s gives no token (%s): look at KAFKA_SASL_OAUTHBEARER_CLIENT_ID, _CLIENT_SECRET and _SCOPE", o.where(), status)
	case errors.As(err, &network):
		return fmt.Errorf("%s: %w", o.where(), network.Err)
	}
	return fmt.Errorf("%s gives no token: what it answers cannot be read", o.where())
}

// where is the URL without anything that may be secret.
func (o OAuth) where() string {
	u, err := url.Parse(o.TokenURL)
	if err != nil {
		return "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
