package main

import (
	"path"
	"slices"

	"github.com/alecthomas/kong"
)

// asMeant turns the words that people type out of habit into those that are declared.
//
// A deployment of slot_sync may still name its command, which then stands behind the entry point of our image. "help" is
// a command nearly everywhere.
func asMeant(args []string) []string {
	switch {
	case len(args) > 1 && path.Base(args[0]) == "slot_sync" && args[1] == "foreground":
		return args[1:]
	case len(args) > 0 && args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	}
	return args
}

// validateFlags checks that the flags that say what a pass is to do stand where there is one, and with each other. To
// pass over one of them in silence, or to do something else than the command says, is worse than to refuse.
func (c *config) validateFlags(l *loader, call *kong.Context) {
	republish := c.republishes()
	flags := []struct {
		name  string
		given bool
	}{
		{"--once", c.Once},
		{"--dry-run", c.DryRun},
		{"--republish", republish},
		{"--yes", c.Yes},
		{"--accept-layout", c.AcceptLayout},
	}
	if what := c.withoutPass(); what != "" {
		for _, f := range flags {
			if f.given {
				l.faultOf(f.name, "does not go with "+what)
			}
		}
		return
	}
	for _, f := range flags {
		if republish && f.given && f.name != "--republish" && f.name != "--yes" {
			l.faultOf("--republish", "does not go with "+f.name+": it does no pass, whoever holds the lease does")
		}
	}
	if c.DryRun && !c.Once && !republish {
		l.faultOf("--dry-run", "goes with --once")
	}
	if c.Yes && !republish {
		l.faultOf("--yes", "goes with --republish")
	}
	times := 0
	for _, p := range call.Path {
		if p.Flag != nil && p.Flag.Name == "republish" {
			times++
		}
	}
	if times > 1 {
		l.faultOf("--republish", "is there more than once: give all ids in one comma list")
	}
}

// withoutPass returns what was called, if it is something that has nothing to do with passes.
func (c *config) withoutPass() string {
	switch {
	case c.PrintVersion:
		return "--version"
	case c.command == "foreground":
		return ""
	}
	return c.command
}
