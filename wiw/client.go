// Package wiw reads shifts from the When I Work API.
//
// An answer is believed only when it is whole: status 200, a JSON object with an array "shifts", no error inside, the
// window that was asked for, and nothing missing at its end. What was handed on before a fault shows was true all the
// same; nothing is concluded from what was not.
package wiw

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	shiftsync "github.com/slotsync/slotsync/sync"
)

var _ shiftsync.Source = (*Client)(nil)

// DefaultURL is where the API is.
const DefaultURL = "https://api.wheniwork.com"

// Config says whom to ask, and how hard. Only Token is required; other zero values mean the default.
type Config struct {
	URL    string      // of the API, without the path of an endpoint; default DefaultURL
	Token  TokenSource // required
	UserID int64       // the user (not the account) whose workplace is read; 0: the token's only one

	// TokenFrom is what an error names when the token is refused: the setting that it is from, or "the login". The
	// default names both.
	TokenFrom string

	// Include widens what is read: "open", "allopen", "unpublished", "all_locations".
	Include []string

	SliceDays int           // longest window of one request, 1 to 90 days; default 30
	Rate      int           // requests a minute; default 60
	MaxBytes  int64         // cap on one answer, decompressed; default 2 GiB
	Timeout   time.Duration // longest wait for a byte while one is being waited for; default 30 s

	// OnWait is told when the waiting for bytes of the API begins, and when it has ended, whether some came or not;
	// OnResponse is told of every attempt, OnRetry of each that went wrong and is followed by another after the wait,
	// OnNotice of what an operator should hear once, OnUnknownDate of each date in a form that nobody told us of, which is
	// read as no date. Each may be nil, may be called from several goroutines, and must not block.
	OnWait        func(waits bool)
	OnResponse    func(Response)
	OnRetry       func(err error, wait time.Duration)
	OnNotice      func(Notice)
	OnUnknownDate func()

	// Transport replaces the HTTP connection, for tests. It must end a response's body when the request's context
	// ends.
	Transport http.RoundTripper
}

// Response is one attempt to get an answer.
type Response struct {
	Latency   time.Duration // until the headers, or until there was an error
	Class     string        // "2xx" to "5xx", ClassNoShift, or "error" when there was no answer
	Remaining int           // requests left as the API says; -1: it does not say
	Date      time.Time     // by the API's clock, in whole seconds; zero: it does not say
}

// ClassNoShift is the class of the status that says of a single shift that it is not there. It is an answer to a question
// and no refusal.
const ClassNoShift = "no_shift"

// Client reads shifts from the API. It may be used from several goroutines.
type Client struct {
	base      *url.URL
	token     TokenSource
	tokenFrom string
	userID    int64
	include   url.Values
	slice     time.Duration
	maxBytes  int64
	timeout   time.Duration
	onWait    func(bool)
	observe   func(Response)
	onRetry   persistence
	http      *http.Client
	transport *http.Transport // nil if it is not ours
	limiter   *rate.Limiter
	hold      hold
	holdOne   hold // of single shifts
	notes     notes
	parsers   sync.Pool // of *parser
}

// New returns a client. It asks nothing yet. The error names every fault of the configuration.
func New(cfg Config) (*Client, error) {
	base, errURL := parseURL(cmp.Or(cfg.URL, DefaultURL))
	include, errInclude := parseInclude(cfg.Include)
	err := errors.Join(
		errURL,
		errInclude,
		wrong(cfg.Token == nil, "token: none"),
		wrong(cfg.UserID < 0, "user id: negative"),
		wrong(cfg.SliceDays < 0 || cfg.SliceDays > maxSliceDays, "slice: must be 1 to 90 days"),
		wrong(cfg.Rate < 0, "rate: negative"),
		wrong(cfg.MaxBytes < 0, "largest answer: negative"),
		wrong(cfg.Timeout < 0, "timeout: negative"),
	)
	if err != nil {
		return nil, err
	}

	c := &Client{
		base:      base,
		token:     cfg.Token,
		tokenFrom: cmp.Or(cfg.TokenFrom, "WIW_KEY (or the login)"),
		userID:    cfg.UserID,
		include:   include,
		slice:     time.Duration(cmp.Or(cfg.SliceDays, 30)) * 24 * time.Hour,
		maxBytes:  cmp.Or(cfg.MaxBytes, 2<<30),
		timeout:   cmp.Or(cfg.Timeout, 30*time.Second),
		onWait:    cfg.OnWait,
		observe:   cfg.OnResponse,
		onRetry:   cfg.OnRetry,
		notes:     notes{tell: cfg.OnNotice, date: cfg.OnUnknownDate},
		hold:      hold{least: 30 * time.Second, most: 15 * time.Minute},
		holdOne:   hold{least: 30 * time.Second, most: 15 * time.Minute},
	}
	if c.onWait == nil {
		c.onWait = func(bool) {}
	}
	perMinute := cmp.Or(cfg.Rate, 60)
	// The slices of one pass may go out in a row, as long as the minute's sum stays about right.
	c.limiter = rate.NewLimiter(rate.Every(time.Minute/time.Duration(perMinute)), max(1, perMinute/10))
	c.parsers.New = func() any { return newParser(&c.notes) }

	through := cfg.Transport
	if through == nil {
		c.transport = newTransport()
		through = c.transport
	}
	c.http = newHTTP(through)
	return c, nil
}

func newHTTP(through http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: through,
		// Secrets must not follow to wherever an answer points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// The API cuts longer windows, silently.
const maxSliceDays = 90

func wrong(is bool, text string) error {
	if is {
		return errors.New(text)
	}
	return nil
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		// It may hold a password, so it is not quoted.
		return nil, errors.New("url: must be http(s)://host[:port][/path]")
	}
	return u, nil
}

func parseInclude(names []string) (url.Values, error) {
	include := url.Values{}
	var errs []error
	for _, name := range names {
		switch name {
		case "open", "allopen":
			include.Set("include_"+name, "true")
		case "unpublished", "all_locations":
			include.Set(name, "true")
		default:
			errs = append(errs, fmt.Errorf("include: %q is not one of open, allopen, unpublished, all_locations", name))
		}
	}
	return include, errors.Join(errs...)
}

func newTransport() *http.Transport {
	dialer := &net.Dialer{KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: letThrough,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true, // off by default beside an own TLS configuration
		DisableCompression:     true, // we ask for gzip ourselves, for a faster reader of it
		MaxIdleConns:           4,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 1 << 20,
		ReadBufferSize:         64 << 10,
	}
}

// Close drops idle connections. Reads that are under way are not disturbed.
func (c *Client) Close() error {
	if c.transport != nil {
		c.transport.CloseIdleConnections()
	}
	return nil
}

// Read hands on the shifts of a window, which is asked for in whole seconds and, if it is long, in several requests.
// What the API answers instead of a list is a *StatusError. While the API wants to be left alone, Read returns that
// error again without asking.
func (c *Client) Read(ctx context.Context, w shiftsync.Window, add func(id int64, hash uint64, raw []byte) error) error {
	w = wholeSeconds(w)
	if !w.Start.Before(w.End) {
		return fmt.Errorf("read shifts: %w: %s", shiftsync.ErrEmptyWindow, w)
	}
	for _, part := range w.Split(c.slice) {
		if err := c.read(ctx, question{window: part}, add); err != nil {
			return err
		}
	}
	return nil
}

// wholeSeconds returns the least window of whole seconds that holds w.
func wholeSeconds(w shiftsync.Window) shiftsync.Window {
	start, end := w.Start.UTC().Truncate(time.Second), w.End.UTC().Truncate(time.Second)
	if end.Before(w.End) {
		end = end.Add(time.Second)
	}
	return shiftsync.Window{Start: start, End: end}
}

// ReadOne hands on one shift, wherever it lies in time. That the API knows no such shift is shiftsync.ErrNoShift, and
// that it refuses this one for another reason, or does not say why, shiftsync.ErrNotShown. It makes one attempt; after
// other trouble, such as a server that fails or is silent, no single shift is asked for, for a while; windows are.
func (c *Client) ReadOne(ctx context.Context, id int64, add func(id int64, hash uint64, raw []byte) error) error {
	err := c.read(ctx, question{id: id}, add)
	var said *StatusError
	switch {
	case !errors.As(err, &said):
		return err
	case said.noShift():
		return fmt.Errorf("%w: %w", shiftsync.ErrNoShift, err)
	case said.aboutOne():
		return fmt.Errorf("%w: %w", shiftsync.ErrNotShown, err)
	}
	return err
}

// noShift tells whether the API has said that there is no such shift. Only its own code says that, under a status that
// can go with it: a proxy has a 404 too, and so has an API that is being rolled out.
func (e *StatusError) noShift() bool {
	return e.Code == codeNoShift && (e.Status == http.StatusNotFound || e.Status == http.StatusGone)
}

// aboutOne tells whether an error is the API's word on one shift alone.
func aboutOne(err error) bool {
	var said *StatusError
	return errors.As(err, &said) && (said.noShift() || said.aboutOne())
}

// aboutOne tells whether the API has refused one shift for what it is. A gateway's page says nothing of it.
func (e *StatusError) aboutOne() bool {
	switch e.Status {
	case http.StatusNotFound, http.StatusGone, http.StatusBadRequest, http.StatusUnprocessableEntity:
		return e.Code != "" || e.Message != ""
	case http.StatusForbidden:
		return e.AboutRights()
	}
	return e.Code == codeNoShift
}

// codeNoShift is the API's own code for a shift that it does not know.
const codeNoShift = "4005"

// question is what is asked of the API: the shifts of a window or, if it has an id, one shift.
type question struct {
	window shiftsync.Window
	id     int64
}

// request forms the request for an answer to q.
func (c *Client) request(ctx context.Context, token string, q question) (*http.Request, error) {
	u := c.address(q)
	if q.id == 0 {
		query := url.Values{
			"start": {q.window.Start.Format(time.RFC3339)},
			"end":   {q.window.End.Format(time.RFC3339)},
		}
		for name, values := range c.include {
			query[name] = slices.Clone(values)
		}
		u.RawQuery = query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", "slotsync")
	req.Header.Set("W-Token", token)
	if c.userID != 0 {
		req.Header.Set("W-UserId", strconv.FormatInt(c.userID, 10))
	}
	return req, nil
}

func (c *Client) address(q question) *url.URL {
	u := c.base.JoinPath("2", "shifts")
	if q.id != 0 {
		u = u.JoinPath(strconv.FormatInt(q.id, 10))
	}
	return u
}

func (c *Client) name(q question) string { return http.MethodGet + " " + shown(c.address(q)) }

// shown returns a URL for error texts: without query, and without a password.
func shown(u *url.URL) string {
	bare := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return bare.String()
}
