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

	shiftsync "github.com/slotsync/slotsync/sync"
)

// attempt asks once. Nil means that the whole answer was read and handed on.
func (c *Client) attempt(ctx context.Context, token string, w shiftsync.Window, add func(int64, uint64, []byte) error) *failure {
	if err := c.limiter.Wait(ctx); err != nil {
		return &failure{verdict: stopped, err: fmt.Errorf("%s: wait for a turn: %w", c.name(), err)}
	}
	ctx, watch := watchSilence(ctx, c.timeout)
	defer watch.release()
	req, err := c.request(ctx, token, w)
	if err != nil {
		return &failure{verdict: final, err: errors.New("form the request: invalid header or address")}
	}

	began := time.Now()
	watch.start()
	res, err := c.http.Do(req)
	watch.stop()
	c.report(res, time.Since(began))
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err // the rest is the address, which c.name tells without its query
		}
		return &failure{verdict: again, err: watch.explain(ctx, err)}
	}
	defer res.Body.Close()

	if res.StatusCode != http.StatusOK {
		return c.refusal(res, watch.reader(res.Body), token)
	}
	body, err := decompressed(res, watch.reader(res.Body))
	if err != nil {
		return &failure{verdict: again, err: watch.explain(ctx, err)}
	}
	if kind := mediaType(res); kind == "text/html" {
		return &failure{verdict: again, err: fmt.Errorf("200 with %s instead of JSON", kind)}
	}
	a := answer{window: w, body: &capped{r: body, max: c.maxBytes}, add: add, notes: &c.notes, token: token}
	f := a.read()
	if f != nil && f.verdict == again {
		f.err = watch.explain(ctx, f.err)
	}
	return f
}

func (c *Client) report(res *http.Response, latency time.Duration) {
	if c.observe == nil {
		return
	}
	r := Response{Latency: latency, Class: "error", Remaining: -1}
	if res != nil {
		r.Class = strconv.Itoa(res.StatusCode/100) + "xx"
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
