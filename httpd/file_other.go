//go:build !unix

package httpd

import (
	"errors"
	"os"
)

// duplicate returns a file of its own over f's descriptor, where there is a
// way to have one.
func duplicate(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }
