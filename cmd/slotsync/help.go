package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/alecthomas/kong"
)

// printHelp prints the help page of what was called. The settings are on the one of the program, and on that of the
// worker, who needs them all: in front of a command's few flags they would hide them.
//
// That the page is not read to its end is no fault.
func printHelp(options kong.HelpOptions, call *kong.Context) (err error) {
	defer func() {
		if errors.Is(err, syscall.EPIPE) {
			err = nil
		}
	}()
	command := call.Selected()
	if command == nil || command.Name == "foreground" {
		return kong.DefaultHelpPrinter(options, call)
	}
	for _, flag := range call.Model.Flags {
		flag.Hidden = flag != call.Model.HelpFlag
	}
	if err := kong.DefaultHelpPrinter(options, call); err != nil {
		return err
	}
	_, err = fmt.Fprintln(call.Stdout, "\nslotsync --help lists the settings.")
	return err
}
