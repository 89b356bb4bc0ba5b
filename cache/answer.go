package cache

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// OnAnswer has tell called after each exchange with the servers of the client: with nil when there was an answer, and
// with what was wrong when there was none, or when the server can do nothing for anybody: it is full, loading, a replica,
// or refuses the login. That the caller gave up is not told. It may be called from several goroutines and must not
// block. It is to be called once, before the client is used.
func OnAnswer(client Client, tell func(err error)) {
	client.AddHook(&listener{client, tell})
}

type listener struct {
	client Client
	tell   func(error)
}

func (l *listener) told(err error) {
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
		l.told(err)
		return err
	}
}

// ProcessPipelineHook is part of redis.Hook.
func (l *listener) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		l.told(err)
		return err
	}
}
