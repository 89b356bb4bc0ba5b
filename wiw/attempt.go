package wiw

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// attempt asks once. Nil means that the whole answer was read and handed on.
func (c *Client) attempt(ctx context.Context, token string, q question, add func(int64, uint64, []byte) error) *failure {
	if err := c.limiter.Wait(ctx); err != nil {
		if ctx.Err() == nil { // the limiter does not begin to wait for a turn that would come too late
			err = fmt.Errorf("it would come too late: %w", context.DeadlineExceeded)
		}
		return &failure{verdict: stopped, err: fmt.Errorf("%s: wait for a turn: %w", c.name(q), err)}
	}
	ctx, watch := watchSilence(ctx, c.timeout, c.onWait)
	defer watch.release()
	req, err := c.request(ctx, token, q)
	if err != nil {
		return &failure{verdict: final, err: errors.New("form the request: invalid header or address")}
	}

	began := time.Now()
	watch.start()
	res, err := c.http.Do(req)
	watch.stop()
	c.report(q, res, time.Since(began))
	if err != nil {
		return &failure{verdict: mayPass(err), err: whereTo(watch.explain(ctx, withoutAddress(err)), "WIW_URL")}
	}
	defer res.Body.Close()

	if res.StatusCode != http.StatusOK {
		return refusal(res, watch.reader(res.Body), hints{
			unauthorized: c.unauthorized(),
			forbidden:    "WIW_USER_ID must be a user (not an account) who may see these shifts",
			address:      "WIW_URL must be the API itself",
		}, token)
	}
	body, err := decompressed(res, watch.reader(res.Body))
	if err != nil {
		return &failure{verdict: again, err: watch.explain(ctx, err)}
	}
	if kind := mediaType(res); kind == "text/html" {
		return &failure{verdict: again, err: fmt.Errorf("200 with %s instead of JSON", kind)}
	}
	a := answer{question: q, body: &capped{r: body, max: c.maxBytes}, add: add, notes: &c.notes, token: token}
	f := a.read()
	if f != nil && f.verdict == again {
		f.err = watch.explain(ctx, f.err)
	}
	return f
}

// unauthorized says what may be wrong if the token is refused.
func (c *Client) unauthorized() string {
	if c.userID == 0 {
		return "is " + c.tokenFrom + " still good?"
	}
	return "is " + c.tokenFrom + " still good, and WIW_USER_ID a user of its workplace?"
}

// withoutAddress takes away what http.Client adds to an error: the address, which error texts tell without its query.
func withoutAddress(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		return outer.Err
	}
	return err
}

func (c *Client) report(q question, res *http.Response, latency time.Duration) {
	if c.observe == nil {
		return
	}
	r := Response{Latency: latency, Class: "error", Remaining: -1}
	if res != nil {
		r.Class = strconv.Itoa(res.StatusCode/100) + "xx"
		if q.id != 0 && (res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGone) {
			r.Class = ClassNoShift
		}
		if n, err := strconv.Atoi(strings.TrimSpace(res.Header.Get("W-Limit-Remaining"))); err == nil && n >= 0 {
			r.Remaining = n
		}
		if at, err := http.ParseTime(res.Header.Get("Date")); err == nil {
			r.Date = at
		}
	}
	c.observe(r)
}

// mediaType returns what the answer says it is, or "".
func mediaType(res *http.Response) string {
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return kind
}
