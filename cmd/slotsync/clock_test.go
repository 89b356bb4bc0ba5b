package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A lease, a wait and a timeout are measured with the clock that never jumps, which a time of now carries beside the
// clock on the wall, until one of these takes it away.
func TestNoTimeOfNowLosesTheClockThatNeverJumps(t *testing.T) {
	takesAway := []string{"UTC", "In", "Local", "Round", "Truncate", "AddDate"}
	seen := 0
	for _, pkg := range []string{"sync", "wiw", "cache", "publish"} {
		paths, err := filepath.Glob(filepath.Join("../..", pkg, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			files := token.NewFileSet()
			f, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				outer, ok := n.(*ast.SelectorExpr)
				if isNow(n) {
					seen++
				}
				if ok && isNow(outer.X) && slices.Contains(takesAway, outer.Sel.Name) {
					t.Errorf("%s: %s of time.Now()", files.Position(outer.Sel.Pos()), outer.Sel.Name)
				}
				return true
			})
		}
	}
	if seen < 15 {
		t.Errorf("only %d times of now were looked at", seen)
	}
}

func isNow(n ast.Node) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return false
	}
	of, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := of.X.(*ast.Ident)
	return ok && pkg.Name == "time" && of.Sel.Name == "Now"
}
