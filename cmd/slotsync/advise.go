package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/slotsync/slotsync/publish"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// advised adds to an error what to do about it, where the program has a flag, a command or a page for that, of which
// the parts that errors come from know nothing.
func advised(err error) error {
	var layout *shiftsync.LayoutError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &layout):
		return fmt.Errorf("%w; change it back, or start once with --accept-layout, which publishes the window anew", err)
	case errors.Is(err, publish.ErrNoTopic):
		return fmt.Errorf("%w; slotsync check --create-topic makes it", err)
	case strings.Contains(err.Error(), "NOPERM"):
		return fmt.Errorf("%w; the README has the rule (ACL SETUSER) for the user of REDIS_HOST", err)
	}
	return err
}
