package drivertest

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"
)

// file makes a file, or skips the clause if the driver sends none.
func (r *rig) file(c *conn, content []byte) *os.File {
	r.t.Helper()
	f, err := os.Create(filepath.Join(r.t.TempDir(), "file"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { f.Close() })
	if _, err := f.Write(content); err != nil {
		r.t.Fatal(err)
	}
	n, err := r.d.TrySendFile(c.fd, f, int64(len(content)), 1)
	if n != 0 || err != io.ErrUnexpectedEOF && !errors.Is(err, errors.ErrUnsupported) {
		r.t.Fatalf("TrySendFile of a byte behind the end returned %d, %v", n, err)
	}
	if err != io.ErrUnexpectedEOF {
		if r.f.SendsFiles {
			r.t.Fatalf("TrySendFile returned %v", err)
		}
		r.exchange(c, r.peers[len(r.peers)-1], "as it was")
		r.t.SkipNow()
	}
	return f
}

func trySendFile(r *rig) {
	c, p := r.connect()
	content := pattern(1<<20, 13)
	f := r.file(c, content)
	var want []byte
	r.during("another goroutine sends what fits", func() error {
		for off := 0; len(want) < 256<<20; {
			n, err := r.d.TrySendFile(c.fd, f, int64(off), 300_000)
			if err != nil || n == 0 {
				return err
			}
			want = append(want, content[off:off+n]...)
			if off += n; off == len(content) {
				off = 0
			}
		}
		return nil
	})
	if len(want) == 0 || len(want) >= 256<<20 {
		r.t.Fatalf("TrySendFile sent %d bytes to a peer that does not read", len(want))
	}
	r.same("the peer received", r.read(p, len(want)), want)
	if n, err := r.d.TrySendFile(c.fd, f, 1000, 10); n != 10 || err != nil {
		r.t.Errorf("TrySendFile of 10 bytes returned %d, %v", n, err)
	}
	if n, err := r.d.TrySendFile(c.fd, f, int64(len(content)-5), 10); n != 5 || err != nil {
		r.t.Errorf("TrySendFile of the last 5 bytes and 5 more returned %d, %v", n, err)
	}
	r.same("the peer received", r.read(p, 15), append(content[1000:1010:1010], content[len(content)-5:]...))
	if at, err := f.Seek(0, io.SeekCurrent); at != int64(len(content)) || err != nil {
		r.t.Errorf("the file's position moved to %d, %v", at, err)
	}
	r.exchange(c, p, "still working")
}

func trySendFileErrors(r *rig) {
	c, p := r.connect()
	f := r.file(c, pattern(100_000, 14))
	folder, err := os.Open(r.t.TempDir())
	if err != nil {
		r.t.Fatal(err)
	}
	defer folder.Close()
	closed, err := os.Open(f.Name())
	if err != nil {
		r.t.Fatal(err)
	}
	closed.Close()
	for name, f := range map[string]*os.File{"a folder": folder, "a closed file": closed} {
		var file *os.PathError
		_, err := r.d.TrySendFile(c.fd, f, 0, 10)
		if !errors.As(err, &file) && !errors.Is(err, errors.ErrUnsupported) {
			r.t.Errorf("TrySendFile of %s returned %v", name, err)
		}
		if name == "a closed file" && !errors.Is(err, os.ErrClosed) {
			r.t.Errorf("TrySendFile of %s returned %v", name, err)
		}
	}
	r.exchange(c, p, "as it was")
	r.f.Reset(p)
	for end := time.Now().Add(patience); err == nil; {
		_, err = r.d.TrySendFile(c.fd, f, 0, 100_000)
		if time.Now().After(end) {
			r.t.Fatal("sending to a peer that reset goes on for ever")
		}
	}
	var file *os.PathError
	if errors.As(err, &file) || errors.Is(err, errors.ErrUnsupported) || err == io.ErrUnexpectedEOF {
		r.t.Errorf("sending to a peer that reset returned %v", err)
	}
	r.settle()
}
