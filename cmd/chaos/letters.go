//go:build linux

package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lettersTopic is where dead letters go.
const lettersTopic = "shifts-dlq"

// postman reads the dead letters, and holds each against the truth: it has to be of a version that cannot be published.
type postman struct {
	truth    *truth
	accounts *accounts
	client   *kgo.Client
}

// newPostman returns a postman that has read nothing yet. The topic has to be there.
func newPostman(t *truth, a *accounts, s *stack) (*postman, error) {
	client, err := newReader(s, lettersTopic)
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	return &postman{t, a, client}, nil
}

// read reads until ctx ends or a promise is broken.
func (p *postman) read(ctx context.Context) error { return readAll(ctx, p.client, p.take) }

func (p *postman) take(r *kgo.Record) error {
	headers := map[string]string{}
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value)
	}
	id, _ := strconv.ParseInt(headers["slotsync-shift"], 10, 64)
	l, ok := labelIn(string(r.Value))
	if !ok {
		return violated("dead letter %d/%d of shift %d: its content is not the API's", r.Partition, r.Offset, id)
	}
	now := arrival{partition: r.Partition, offset: r.Offset, at: r.Timestamp, pass: headers[headerPass]}
	again, err := p.truth.bury(id, l, now, headers["slotsync-stage"])
	if err != nil {
		return err
	}
	p.accounts.letter(now.pass, again)
	return nil
}

// bury notes the newest dead letter of a shift, and returns what it repeats if there was one of the same version.
func (t *truth) bury(id int64, l label, now arrival, stage string) (*repeat, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	where := fmt.Sprintf("dead letter %d/%d (version %s, pass %s)", now.partition, now.offset, l, now.pass)
	s := t.byID[id]
	if s == nil || s.newest(l) < 0 {
		return nil, violated("%s is of shift %d as the API never had it", where, id)
	}
	if !l.kind().bad() {
		return nil, violated("a good version becomes no dead letter: %s says it was lost at stage %q; %s", where, stage, s.history())
	}
	if want := map[kind]string{unreadable: "parse", large: "publish"}[l.kind()]; stage != want {
		return nil, violated("%s tells of stage %q, want %q; %s", where, stage, want, s.history())
	}
	var r *repeat
	if s.lettered == l {
		r = &repeat{shift: s, label: l, first: s.buried, again: now}
	}
	s.lettered, s.buried = l, now
	return r, nil
}
