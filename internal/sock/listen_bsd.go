//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// abstract is true exactly when a Unix socket of that name has no file.
func abstract(name string) bool { return name == "" }
