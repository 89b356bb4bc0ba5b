package cache

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// OnAnswer has tell called after each exchange with the servers of the client: with nil when there was an answer, and
// with what was wrong when there was none, or when the server can do nothing for anybody: it is full, loading, a replica,
// or refuses the login. That the caller gave up is not told, nor what came of it that somebody who only looks at a shift
// had no more time. It may be called from several goroutines and must not
// block. It is to be called once, before the client is used.
func OnAnswer(client Client, tell func(err error)) {
	client.AddHook(&listener{client, tell})
}

type listener struct {
	client Client
	tell   func(error)
}

// looker is the key of the context that Shift was called with: its end tells of a caller's patience and not of the servers.
type looker struct{}

func outOfPatience(ctx context.Context) bool {
	caller, looks := ctx.Value(looker{}).(context.Context)
	if !looks {
		return false
	}
	// A connection that waits until then may say so before the context does.
	deadline, limited := caller.Deadline()
	return caller.Err() != nil || limited && !time.Now().Before(deadline)
}

func (l *listener) told(ctx context.Context, err error) {
	if err != nil && outOfPatience(ctx) {
		return
	}
	err = explain(l.client, err)
	var trouble *ServerError
	switch {
	case errors.Is(err, context.Canceled):
	case !errors.As(err, &trouble), isAnswer(err) && trouble.Advice == "":
		l.tell(nil)
	default:
		l.tell(err)
	}
}

// DialHook is part of redis.Hook.
func (l *listener) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook is part of redis.Hook.
func (l *listener) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		l.told(ctx, err)
		return err
	}
}

// ProcessPipelineHook is part of redis.Hook.
func (l *listener) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		l.told(ctx, err)
		return err
	}
}
