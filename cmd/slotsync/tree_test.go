package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/slotsync/slotsync"

// rooms are the folders of the top level that hold code, each with the rooms that it may look into.
func rooms() map[string][]string {
	return map[string][]string{
		"cmd":     {"sync", "wiw", "cache", "publish", "schemas"},
		"sync":    {},
		"wiw":     {"sync"},
		"cache":   {"sync"},
		"publish": {"sync", "schemas"},
		"schemas": {},
	}
}

// besides are the entries of the top level that are no rooms.
func besides() []string {
	return []string{
		"go.mod", "go.sum", "Makefile", "Dockerfile", "README.md", "LICENSE", "CHANGELOG.md", "compose.yaml", "docs",
		".ci", ".golangci.yml", ".gitignore", ".dockerignore", ".git",
		"deploy", // a module of its own, of tests and manifests
		"bin",    // built, and not committed
	}
}

// doubles are packages that stand in for the world. Only tests, the demo, the fault suite and the benchmark may know them.
func doubles() []string {
	return []string{
		module + "/wiw/wiwtest", module + "/publish/publishtest", module + "/cache/cachetest", module + "/sync/stacktest",
		"github.com/alicebob/miniredis", "github.com/twmb/franz-go", "github.com/chromedp", "testing",
	}
}

func TestTree(t *testing.T) {
	root := filepath.Join("..", "..")
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if _, room := rooms()[name]; !room && !slices.Contains(besides(), name) {
			t.Errorf("%s has no place at the top level", name)
		}
	}
	files := map[string]int{} // by room
	for room := range rooms() {
		err := filepath.WalkDir(filepath.Join(root, room), func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(file) != ".go" {
				return err
			}
			files[room]++
			source, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, file)
			if err != nil {
				return err
			}
			for _, complaint := range complaints(filepath.ToSlash(rel), string(source)) {
				t.Errorf("%s %s", rel, complaint)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if files[room] == 0 {
			t.Errorf("no Go files were found in %s", room)
		}
	}
}

// complaints returns what the file, whose name is relative to the top level, does that it must not.
func complaints(name, source string) []string {
	var found []string
	complain := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution)
	if err != nil {
		return []string{err.Error()}
	}
	room, _, _ := strings.Cut(name, "/")
	folder := path.Base(path.Dir(name))
	test := strings.HasSuffix(name, "_test.go") || slices.Contains([]string{"wiwtest", "publishtest", "cachetest", "stacktest"}, folder)
	production := !test && !strings.HasPrefix(name, "cmd/mini/") && !strings.HasPrefix(name, "cmd/chaos/") && !strings.HasPrefix(name, "cmd/bench/")

	local := map[string]string{} // the name of a package in this file, to its path
	for _, spec := range file.Imports {
		target, _ := strconv.Unquote(spec.Path.Value)
		alias := ""
		if spec.Name != nil {
			alias = spec.Name.Name
		}
		local[path.Base(target)] = target
		if alias != "" {
			local[alias] = target
		}
		switch inside, ours := strings.CutPrefix(target, module+"/"); {
		case ours:
			other, _, _ := strings.Cut(inside, "/")
			if other != room && !slices.Contains(rooms()[room], other) {
				complain("imports %s: %s must not know %s", target, room, other)
			}
		case room == "sync" && production && strings.Contains(target, ".") && !within(target, "golang.org/x/sync"):
			complain("imports %s: the core needs the standard library and golang.org/x/sync only", target)
		}
		if target == "sync" && alias != "" {
			complain("renames the standard sync")
		}
		if target == module+"/sync" && alias != "shiftsync" {
			complain("imports our sync without calling it shiftsync")
		}
		if production && slices.ContainsFunc(doubles(), func(double string) bool { return within(target, double) }) {
			complain("imports %s, which is for tests, the demo and the fault suite", target)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if pkg, ok := selector.X.(*ast.Ident); ok && local[pkg.Name] != "" {
			switch call := local[pkg.Name] + "." + selector.Sel.Name; call {
			case "time.Sleep":
				complain("calls time.Sleep: wait for what is to happen, or for the context")
			case "os.Getenv", "os.LookupEnv", "os.Environ", "os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln":
				if !test && path.Base(name) != "main.go" {
					complain("calls %s, which is for main", call)
				}
			}
		}
		return true
	})
	return found
}

// within tells whether a package is the other one or lies below it.
func within(pkg, other string) bool {
	return pkg == other || strings.HasPrefix(pkg, other+"/")
}

func TestTreeComplains(t *testing.T) {
	for _, c := range []struct {
		claim, file, imports, body string
		want                       int
	}{
		{"the core may use the standard library", "sync/a.go", `"sync"; "golang.org/x/sync/errgroup"`, "", 0},
		{"the core knows no adapter", "sync/a.go", `"github.com/slotsync/slotsync/cache"`, "", 1},
		{"nor does a test of it", "sync/a_test.go", `"github.com/slotsync/slotsync/cache"`, "", 1},
		{"the core needs no library", "sync/a.go", `"go.uber.org/atomic"`, "", 1},
		{"its tests may", "sync/a_test.go", `"go.uber.org/goleak"`, "", 0},
		{"an adapter knows the core by its name", "wiw/a.go", `shiftsync "github.com/slotsync/slotsync/sync"`, "", 0},
		{"an adapter knows the core by no other name", "wiw/a.go", `core "github.com/slotsync/slotsync/sync"`, "", 1},
		{"the name is written down", "wiw/a.go", `"github.com/slotsync/slotsync/sync"`, "", 1},
		{"adapters do not know each other", "wiw/a.go", `"github.com/slotsync/slotsync/cache"`, "", 1},
		{"cache knows no schemas", "cache/a.go", `"github.com/slotsync/slotsync/schemas"`, "", 1},
		{"publish knows the schemas", "publish/a.go", `"github.com/slotsync/slotsync/schemas"`, "", 0},
		{"schemas know nothing of ours", "schemas/a.go", `"github.com/slotsync/slotsync/publish"`, "", 1},
		{"nobody knows cmd", "publish/a.go", `"github.com/slotsync/slotsync/cmd/slotsync"`, "", 1},
		{"cmd knows all", "cmd/slotsync/a.go", `"github.com/slotsync/slotsync/cache"; "github.com/slotsync/slotsync/wiw"`, "", 0},
		{"the standard sync keeps its name", "cmd/slotsync/a.go", `gosync "sync"`, "", 1},
		{"fakes are not for production", "cmd/slotsync/a.go", `"github.com/slotsync/slotsync/wiw/wiwtest"`, "", 1},
		{"nor is what knows the stack", "cache/a.go", `"github.com/slotsync/slotsync/sync/stacktest"`, "", 1},
		{"fakes are for tests", "wiw/a_test.go", `"github.com/slotsync/slotsync/wiw/wiwtest"`, "", 0},
		{"fakes are for the demo", "cmd/mini/a.go", `"github.com/alicebob/miniredis/v2"; "github.com/twmb/franz-go/pkg/kfake"`, "", 0},
		{"fakes are for the benchmark", "cmd/bench/a.go", `"github.com/slotsync/slotsync/wiw/wiwtest"; "github.com/twmb/franz-go/pkg/kmsg"`, "", 0},
		{"fakes are for the fault suite", "cmd/chaos/a.go", `"github.com/slotsync/slotsync/wiw/wiwtest"; "github.com/twmb/franz-go/pkg/kgo"`, "", 0},
		{"fakes may use fakes", "publish/publishtest/a.go", `"github.com/twmb/franz-go/pkg/sr/srfake"`, "", 0},
		{"an embedded Redis is not for production", "cache/a.go", `"github.com/alicebob/miniredis/v2"`, "", 1},
		{"an embedded broker is not for production", "publish/a.go", `"github.com/twmb/franz-go/pkg/kfake"`, "", 1},
		{"production sleeps not", "wiw/a.go", `"time"`, "time.Sleep(1)", 1},
		{"tests sleep not", "wiw/a_test.go", `"time"`, "time.Sleep(1)", 1},
		{"a sleep under another name", "wiw/a.go", `clock "time"`, "clock.Sleep(1)", 1},
		{"our own Sleep is none", "wiw/a.go", "", "time.Sleep(1)", 0},
		{"variables are for main", "cache/a.go", `"os"`, `os.Getenv("A")`, 1},
		{"main may read variables", "cmd/slotsync/main.go", `"os"`, `os.Getenv("A"); os.Exit(1)`, 0},
		{"beside main nobody exits", "cmd/slotsync/a.go", `"os"; "log"`, `os.Exit(1); log.Fatal("a")`, 2},
		{"a test may be told of a real server", "cache/a_test.go", `"os"`, `os.Getenv("A")`, 0},
	} {
		t.Run(c.claim, func(t *testing.T) {
			got := complaints(c.file, "package a\nimport ("+c.imports+")\nfunc f() {\n"+c.body+"\n}\n")
			if len(got) != c.want {
				t.Errorf("got %q, want %d complaints", got, c.want)
			}
		})
	}
}
