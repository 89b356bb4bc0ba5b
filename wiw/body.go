package wiw

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/klauspost/compress/gzip"
)

// silence ends a request when no byte comes for too long while one is being waited for. The time that our own side
// takes between two reads does not count, nor does the length of an answer that keeps coming.
type silence struct {
	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
	tell   func(waits bool)
}

var errSilence = errors.New("the API is silent")

func watchSilence(ctx context.Context, limit time.Duration, tell func(waits bool)) (context.Context, *silence) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(limit, func() { cancel(errSilence) })
	timer.Stop()
	return ctx, &silence{limit, timer, cancel, tell}
}

func (s *silence) start() {
	s.tell(true)
	s.timer.Reset(s.limit)
}

func (s *silence) stop() {
	s.timer.Stop()
	s.tell(false)
}

func (s *silence) release() {
	s.timer.Stop()
	s.cancel(nil)
}

// explain returns the reason behind err, which may only say that the request was cancelled.
func (s *silence) explain(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilence) {
		return fmt.Errorf("no byte for %s: %w", s.limit, errSilence)
	}
	return err
}

func (s *silence) reader(r io.Reader) io.Reader {
	// Buffered, since the timer costs as much as reading several kilobytes.
	return bufio.NewReaderSize(watched{r, s}, 64<<10)
}

type watched struct {
	r io.Reader
	s *silence
}

func (w watched) Read(p []byte) (int, error) {
	w.s.start()
	defer w.s.stop()
	return w.r.Read(p)
}

func decompressed(res *http.Response, body io.Reader) (io.Reader, error) {
	switch encoding := res.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
		return body, nil
	case "gzip":
		r, err := gzip.NewReader(body)
		if err != nil {
			return nil, fmt.Errorf("gunzip: %w", noEOF(err))
		}
		return r, nil
	default:
		return nil, errors.New("an encoding that was not asked for")
	}
}

var (
	errTooLong  = errors.New("too long")
	errTooLarge = errors.New("one value of it is over 4 MiB")
)

// maxValue bounds what is held of an answer: one shift, or one text.
const maxValue = 4 << 20

// capped ends with an error soon after max bytes, or maxValue behind mark. Its errors last.
type capped struct {
	r    io.Reader
	max  int64
	read int64
	mark int64 // start of the value in hand
	err  error
}

func (c *capped) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.read-c.mark > maxValue {
		c.err = errTooLarge
		return 0, c.err
	}
	n, err := c.r.Read(p)
	c.read += int64(n)
	c.err = err
	if c.read > c.max {
		c.err = fmt.Errorf("%w: over %d bytes", errTooLong, c.max)
	}
	return n, c.err
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
