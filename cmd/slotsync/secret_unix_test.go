//go:build unix

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A path that was mixed up is told at once, whatever stands there, and what editors add to a secret is not part of it.
func TestAFileThatIsNoSecretIsRefused(t *testing.T) {
	folder := t.TempDir()
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(folder, "link") // as Kubernetes mounts secrets
	if err := os.Symlink(file(t, "s3cr3t\n"), link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ claim, path, want, fault string }{
		{"a line end", file(t, "s3cr3t\n"), "s3cr3t", ""},
		{"a line end of Windows", file(t, "s3cr3t\r\n"), "s3cr3t", ""},
		{"a mark of the encoding", file(t, "\ufeffs3cr3t"), "s3cr3t", ""},
		{"a link", link, "s3cr3t", ""},
		{"the largest", file(t, strings.Repeat("x", maxSecret)), strings.Repeat("x", maxSecret), ""},
		{"only a mark of the encoding", file(t, "\ufeff\r\n"), "", "names an empty file"},
		{"UTF-16", file(t, "\xff\xfes\x003\x00"), "", "control characters"},
		{"a space at the end", file(t, "s3cr3t \n"), "", "must not begin or end with a space"},
		{"larger than any", file(t, strings.Repeat("x", maxSecret+1)), "", "larger than 64 KiB"},
		{"a pipe that nobody writes to", pipe, "", "no regular file"},
		{"a device without an end", "/dev/zero", "", "no regular file"},
		{"a directory", folder, "", "it is a directory"},
		{"nothing", filepath.Join(folder, "none"), "", "no such file"},
	} {
		cfg, err := load(nil, minimal(env{"WIW_KEY": "", "WIW_KEY_FILE": c.path}).get, io.Discard)
		switch {
		case c.fault == "" && (err != nil || cfg.WIW.Token.Reveal() != c.want):
			t.Errorf("%s: got %v", c.claim, err)
		case c.fault != "" && (exitCode(err) != 2 || !strings.HasPrefix(err.Error(), "WIW_KEY_FILE ") || !strings.Contains(err.Error(), c.fault)):
			t.Errorf("%s: got %v, want %q", c.claim, err, c.fault)
		case c.fault != "" && (strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), "xxx")):
			t.Errorf("%s: the error quotes it: %v", c.claim, err)
		}
	}
}
