package sluice_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// The rules that a machine can check, over every Go file of this module:
//
//   - Files have at most 500 lines (tests 700) and functions 70 (tests 120):
//     what does not fit on a few screens is two ideas.
//   - Every exported type, function, method, constant and variable has a doc
//     comment that begins with its name, as go doc shows it out of context. The
//     comment of a group of constants or variables serves all of them.
//   - Every package has a package comment.
//   - Unfinished work is finished or written down elsewhere, not marked in
//     comments.
//   - The race detector runs on the code that ships: neither go:norace nor a
//     second implementation behind the build tag race.
//   - Imports follow the tables below, tests excepted: a test may compare with
//     whatever the module has. Directories that are modules of their own (peers,
//     conformance suites) may depend on anything and are not looked at.
const (
	tidyModule        = "github.com/sluice-go/sluice"
	tidyFileLines     = 500
	tidyTestFileLines = 700
	tidyFuncLines     = 70
	tidyTestFuncLines = 120
)

// tidyLayers says which packages of the module may import which, so that an
// import always points down. A package belongs to the layer that names the
// first element of its directory; it may import the layers, and the directories
// one by one, in may.
var tidyLayers = []struct {
	name string
	dirs []string // "." is the root package
	may  []string
}{
	{"foundation", []string{"buffer", "internal"}, []string{"foundation"}},
	// A codec knows bytes, not connections: it is tested and fuzzed without
	// a network, and serves any.
	{"codec", []string{"http1", "http2", "ws"}, []string{"codec", "buffer"}},
	{"connection", []string{".", "tlsconn"}, []string{"foundation", "connection"}},
	{
		"application", []string{"httpd", "httpdtest", "certfile", "websocket", "grpcd", "cmd", "examples"},
		[]string{"foundation", "codec", "connection", "application"},
	},
}

// tidyForbidden are packages of the standard library that a layer must not
// import, each with all below it: what does input and output.
var tidyForbidden = []struct{ layer, pkg string }{
	{"codec", "net"}, {"codec", "os"}, {"codec", "syscall"},
}

// tidyAllowed lists the dependencies: a directory ("" is everywhere), what it
// may import with all below it, and why. Users of the core get x/sys alone.
var tidyAllowed = []struct{ dir, pkg, reason string }{
	{"", "golang.org/x/sys", "system calls that package syscall does not have"},
	{"cmd", "github.com/alecthomas/kong", "command lines"},
	{"ws", "github.com/klauspost/compress/flate", "deflate with windows of any size and with dictionaries"},
}

// tidyMarks finds marks of unfinished work; in pieces, for it reads this file.
var tidyMarks = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

// tidyTree checks a tree of Go files.
type tidyTree struct {
	fset     *token.FileSet
	problems []string
	packages map[string]bool // by directory: true exactly when it has a package comment
}

// tidyCheck returns what is wrong with the module in directory root.
func tidyCheck(root string) ([]string, error) {
	t := &tidyTree{fset: token.NewFileSet(), packages: make(map[string]bool)}
	fsys := os.DirFS(root)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if name != "." && tidySkips(fsys, name) {
				return fs.SkipDir
			}
		case strings.HasSuffix(name, ".go"):
			src, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			return t.checkFile(name, src)
		}
		return nil
	})
	for dir, commented := range t.packages {
		if !commented {
			t.problems = append(t.problems, fmt.Sprintf("%s: the package has no comment beginning with its name", dir))
		}
	}
	slices.Sort(t.problems)
	return t.problems, err
}

// tidySkips reports whether a directory is not part of the module's code.
func tidySkips(fsys fs.FS, dir string) bool {
	base := path.Base(dir)
	_, err := fs.Stat(fsys, path.Join(dir, "go.mod"))
	return err == nil || base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_'
}

func (t *tidyTree) report(pos token.Pos, format string, args ...any) {
	at := t.fset.Position(pos)
	t.problems = append(t.problems, fmt.Sprintf("%s:%d: %s", at.Filename, at.Line, fmt.Sprintf(format, args...)))
}

func (t *tidyTree) checkFile(name string, src []byte) error {
	f, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	isTest := strings.HasSuffix(name, "_test.go")
	fileLines, funcLines := tidyFileLines, tidyFuncLines
	if isTest {
		fileLines, funcLines = tidyTestFileLines, tidyTestFuncLines
	}
	if n := strings.Count(string(src), "\n"); n > fileLines {
		t.report(f.Package, "the file has %d lines, more than %d", n, fileLines)
	}
	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok {
			n := t.fset.Position(fn.End()).Line - t.fset.Position(fn.Pos()).Line + 1
			if n > funcLines {
				t.report(fn.Pos(), "%s has %d lines, more than %d", fn.Name, n, funcLines)
			}
		}
	}
	t.checkComments(f, isTest)
	for _, imp := range f.Imports {
		t.checkImport(path.Dir(name), imp, isTest)
	}
	if !isTest {
		t.checkPackageComment(path.Dir(name), f)
		for _, decl := range f.Decls {
			t.checkDocs(decl)
		}
	}
	return nil
}

func (t *tidyTree) checkComments(f *ast.File, isTest bool) {
	for _, group := range f.Comments {
		for _, c := range group.List {
			if mark := tidyMarks.FindString(c.Text); mark != "" {
				t.report(c.Pos(), "a comment says %s", mark)
			}
			if isTest {
				continue
			}
			if strings.HasPrefix(c.Text, "//go:norace") {
				t.report(c.Pos(), "go:norace hides the code from the race detector")
			}
			if tidyTagged(c.Text, "race") {
				t.report(c.Pos(), "the build tag race makes a second implementation")
			}
		}
	}
}

// tidyTagged reports whether a comment is a build constraint that mentions tag.
func tidyTagged(comment, tag string) bool {
	expr, err := constraint.Parse(comment)
	if err != nil {
		return false
	}
	mentioned := false
	expr.Eval(func(t string) bool {
		mentioned = mentioned || t == tag
		return false
	})
	return mentioned
}

// tidyWithin reports whether pkg is parent or below it.
func tidyWithin(pkg, parent string) bool {
	return parent == "" || pkg == parent || strings.HasPrefix(pkg, parent+"/")
}

// tidyLayer returns the index of a directory's layer, or -1.
func tidyLayer(dir string) int {
	first, _, _ := strings.Cut(dir, "/")
	for i, layer := range tidyLayers {
		if slices.Contains(layer.dirs, first) {
			return i
		}
	}
	return -1
}

func (t *tidyTree) checkImport(dir string, imp *ast.ImportSpec, isTest bool) {
	pkg, err := strconv.Unquote(imp.Path.Value)
	if err != nil {
		t.report(imp.Pos(), "%v", err)
		return
	}
	first, _, _ := strings.Cut(pkg, "/")
	switch {
	case pkg == "C":
		t.report(imp.Pos(), "cgo is not used")
	case tidyWithin(pkg, tidyModule):
		if !isTest {
			t.checkDirection(dir, imp, cmp.Or(strings.TrimPrefix(strings.TrimPrefix(pkg, tidyModule), "/"), "."))
		}
	case strings.Contains(first, "."):
		for _, a := range tidyAllowed {
			if tidyWithin(dir, a.dir) && tidyWithin(pkg, a.pkg) {
				return
			}
		}
		t.report(imp.Pos(), "%s is not a dependency allowed here", pkg)
	case !isTest:
		for _, f := range tidyForbidden {
			if i := tidyLayer(dir); i >= 0 && tidyLayers[i].name == f.layer && tidyWithin(pkg, f.pkg) {
				t.report(imp.Pos(), "a package of layer %s must not import %s", f.layer, pkg)
			}
		}
	}
}

// checkDirection checks an import of one directory of the module by another.
func (t *tidyTree) checkDirection(dir string, imp *ast.ImportSpec, imported string) {
	from, to := tidyLayer(dir), tidyLayer(imported)
	if from < 0 || to < 0 {
		t.report(imp.Pos(), "%s or %s is in no layer", dir, imported)
		return
	}
	may := tidyLayers[from].may
	if !slices.Contains(may, tidyLayers[to].name) && !slices.Contains(may, imported) {
		t.report(imp.Pos(), "layer %s must not import %s, which is of layer %s",
			tidyLayers[from].name, imported, tidyLayers[to].name)
	}
}

func (t *tidyTree) checkPackageComment(dir string, f *ast.File) {
	if tidyLayer(dir) < 0 && !t.packages[dir] {
		t.report(f.Package, "%s is in no layer", dir)
	}
	text := f.Doc.Text()
	if f.Name.Name == "main" {
		t.packages[dir] = t.packages[dir] || text != ""
		return
	}
	t.packages[dir] = t.packages[dir] || tidyBegins(text, "Package "+f.Name.Name)
}

// tidyBegins reports whether a comment begins with a name.
func tidyBegins(text, name string) bool {
	rest, ok := strings.CutPrefix(text, name)
	next, _ := utf8.DecodeRuneInString(rest)
	return ok && !unicode.IsLetter(next) && !unicode.IsDigit(next) && next != '_'
}

func (t *tidyTree) checkDocs(decl ast.Decl) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Name.IsExported() && tidyReceiverExported(decl) && !tidyBegins(decl.Doc.Text(), decl.Name.Name) {
			t.report(decl.Pos(), "%s has no comment beginning with its name", decl.Name)
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				t.checkSpecDoc(decl, spec.Doc, spec.Name)
			case *ast.ValueSpec:
				if !decl.Lparen.IsValid() || decl.Doc == nil {
					t.checkSpecDoc(decl, spec.Doc, spec.Names...)
				}
			}
		}
	}
}

// checkSpecDoc checks names that one declaration, alone or in a group, makes.
func (t *tidyTree) checkSpecDoc(decl *ast.GenDecl, doc *ast.CommentGroup, names ...*ast.Ident) {
	if !decl.Lparen.IsValid() {
		doc = decl.Doc
	}
	text := doc.Text()
	if slices.ContainsFunc(names, func(n *ast.Ident) bool { return tidyBegins(text, n.Name) }) {
		return
	}
	for _, name := range names {
		if name.IsExported() {
			t.report(name.Pos(), "%s has no comment beginning with its name", name)
		}
	}
}

// tidyReceiverExported reports whether fn is no method or one of an exported
// type.
func tidyReceiverExported(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return true
	}
	exported := false
	ast.Inspect(fn.Recv.List[0].Type, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident) // the first identifier is the type's name, others its parameters
		if ok && !exported {
			exported = id.IsExported()
		}
		return !ok
	})
	return exported
}

func TestTidy(t *testing.T) {
	problems, err := tidyCheck(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// tidyWrite makes a module of the given files, by path.
func tidyWrite(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, src := range files {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(src), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// tidyLines returns a function, without a doc comment, of n lines.
func tidyLines(name string, n int) string {
	return "func " + name + "() {\n" + strings.Repeat("\t_ = 0\n", n-2) + "}\n"
}

func TestTidyAcceptsTidyCode(t *testing.T) {
	root := tidyWrite(t, map[string]string{
		"go.mod": "module " + tidyModule + "\n",
		"doc.go": "// Package sluice is tidy.\npackage sluice\n\nimport _ \"" + tidyModule + "/buffer\"\n",
		"buffer/b.go": `// Package buffer is tidy, too.
package buffer

import (
	_ "net"

	_ "golang.org/x/sys/unix"
)

// Limits of something.
const (
	A = 1
	B = 2
)

var (
	// C, with D, is documented on its own.
	C, D int

	e int
)

// T is a type.
type T[K any] struct{ Field K }

// M is a method.
func (t *T[K]) M() {}

func (t *T[K]) m() {}

type u struct{}

func (u) String() string { return "of a type that nobody sees" }

` + tidyLines("f", tidyFuncLines),
		"buffer/b_test.go":       "package buffer_test\n\nimport _ \"" + tidyModule + "/httpd\"\n\n" + tidyLines("TestF", tidyTestFuncLines),
		"cmd/tool/main.go":       "// Command tool is tidy.\npackage main\n\nimport _ \"github.com/alecthomas/kong\"\n",
		"http1/h.go":             "//go:build linux && !race2\n\n// Package http1 may use buffers.\npackage http1\n\nimport _ \"" + tidyModule + "/buffer\"\n",
		"bench/go.mod":           "module other\n",
		"bench/bad.go":           "package bench // TO" + "DO\n",
		"buffer/testdata/bad.go": "this is not Go",
		".hidden/bad.go":         "nor this",
	})
	problems, err := tidyCheck(root)
	if err != nil || len(problems) != 0 {
		t.Fatalf("%q, %v", problems, err)
	}
}

func TestTidyFindsWhatIsNot(t *testing.T) {
	const ok = "// Package p is commented.\npackage p\n\n"
	imports := func(pkg string) string { return ok + "import _ \"" + pkg + "\"\n" }
	tests := []struct{ file, src, want string }{
		{"buffer/a.go", ok + strings.Repeat("\n", tidyFileLines-2), "a.go:2: the file has 501 lines, more than 500"},
		{"buffer/a_test.go", "package p\n" + strings.Repeat("\n", tidyTestFileLines), "the file has 701 lines, more than 700"},
		{"buffer/a.go", ok + tidyLines("f", tidyFuncLines+1), "f has 71 lines, more than 70"},
		{"buffer/a_test.go", "package p\n" + tidyLines("f", tidyTestFuncLines+1), "f has 121 lines, more than 120"},
		{"buffer/a.go", "package p\n", "buffer: the package has no comment"},
		{"buffer/a.go", "// Package pp is another.\npackage p\n", "buffer: the package has no comment"},
		{"cmd/x/a.go", "package main\n", "cmd/x: the package has no comment"},
		{"buffer/a.go", ok + "func F() {}\n", "a.go:4: F has no comment"},
		{"buffer/a.go", ok + "// Fx is misspelt.\nfunc F() {}\n", "F has no comment"},
		{"buffer/a.go", ok + "// T is a type.\ntype T int\n\nfunc (*T) M() {}\n", "M has no comment"},
		{"buffer/a.go", ok + "// T is a type.\ntype T[k any] int\n\nfunc (T[k]) M() {}\n", "M has no comment"},
		{"buffer/a.go", ok + "type T int\n", "T has no comment"},
		{"buffer/a.go", ok + "// Types.\ntype (\n\tT int\n)\n", "T has no comment"},
		{"buffer/a.go", ok + "const A = 1\n", "A has no comment"},
		{"buffer/a.go", ok + "// It is.\nvar A = 1\n", "A has no comment"},
		{"buffer/a.go", ok + "var (\n\ta = 1\n\tB = 1\n)\n", "a.go:6: B has no comment"},
		{"buffer/a.go", ok + "// TO" + "DO: more\n", "a.go:4: a comment says TO" + "DO"},
		{"buffer/a_test.go", "package p\n\n/*\nFIX" + "ME */\n", "a comment says FIX" + "ME"},
		{"buffer/a.go", ok + "func f() {\n\tf() // XX" + "X\n}\n", "a comment says XX" + "X"},
		{"buffer/a.go", ok + "//go:norace\nfunc f() {}\n", "go:norace"},
		{"buffer/a.go", "//go:build linux && !race\n\n" + ok, "build tag race"},
		{"buffer/a.go", imports("C"), "cgo"},
		{"buffer/a.go", imports(tidyModule), "layer foundation must not import ., which is of layer connection"},
		{"internal/x/a.go", imports(tidyModule + "/http1"), "layer foundation must not import http1"},
		{"a.go", imports(tidyModule + "/http1"), "layer connection must not import http1"},
		{"a.go", imports(tidyModule + "/httpd/x"), "layer connection must not import httpd/x"},
		{"tlsconn/a.go", imports(tidyModule + "/websocket"), "layer connection must not import websocket"},
		{"http1/a.go", imports(tidyModule), "layer codec must not import ."},
		{"http2/x/a.go", imports(tidyModule + "/internal/sock"), "layer codec must not import internal/sock"},
		{"http2/a.go", imports("net/http"), "layer codec must not import net/http"},
		{"new/a.go", ok, "new is in no layer"},
		{"a.go", imports(tidyModule + "/new"), "new is in no layer"},
		{"a.go", imports("golang.org/x/system"), "golang.org/x/system is not a dependency"},
		{"httpd/a.go", imports("github.com/alecthomas/kong"), "kong is not a dependency"},
		{"httpd/a_test.go", "package p\n\nimport _ \"github.com/stretchr/testify\"\n", "testify is not a dependency"},
	}
	for _, tt := range tests {
		problems, err := tidyCheck(tidyWrite(t, map[string]string{tt.file: tt.src}))
		if err != nil || len(problems) != 1 || !strings.Contains(problems[0], tt.want) {
			t.Errorf("%s: found %q, %v, want one like %q in\n%.300s", tt.file, problems, err, tt.want, tt.src)
		}
	}
	if _, err := tidyCheck(tidyWrite(t, map[string]string{"a.go": "not Go"})); err == nil {
		t.Error("a file that is not Go is accepted")
	}
}
