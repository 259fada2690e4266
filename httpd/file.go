package httpd

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"

	"github.com/sluice-go/sluice"
)

const (
	// fileMin is from how many bytes on a file is sent by the kernel.
	fileMin = 16 << 10

	// filePiece is how many bytes of a file are read and queued when the
	// kernel takes none at the moment: their leaving tells when it does.
	// Where the kernel cannot send files, it is readPiece.
	filePiece = 1 << 10
	readPiece = 32 << 10
)

// fileTail is what is to be sent of a file. Between its jobs, while the client
// is slow, it holds a descriptor and no goroutine.
type fileTail struct {
	f    *os.File
	off  int64
	left int64
}

func (t *fileTail) close() { _ = t.f.Close() }

// copyBuffers are for answers that are copied from a reader.
var copyBuffers = sync.Pool{New: func() any { return new([readPiece]byte) }}

// ReadFrom writes what src has. If that is a part of a file of announced
// length, the kernel sends it, and most of that happens after ReadFrom has
// returned: an error shows only in what is called later.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	if n, ok := w.takeFile(src); ok {
		return n, nil
	}
	buf := copyBuffers.Get().(*[readPiece]byte)
	defer copyBuffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{src}, buf[:])
}

// takeFile makes the rest of src's file the rest of the answer, if it is one.
func (w *response) takeFile(src io.Reader) (int64, bool) {
	limited, _ := src.(*io.LimitedReader)
	if limited != nil {
		src = limited.R
	}
	f, ok := src.(*os.File)
	if !ok || w.hijacked {
		return 0, false
	}
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	off, err := f.Seek(0, io.SeekCurrent)
	n := info.Size() - off
	if limited != nil {
		n = min(n, limited.N)
	}
	if err != nil || n < fileMin || w.length == -1 || w.written+n > w.length || w.file != nil ||
		!w.head.hasType || !bodyAllowed(w.status) || w.req.Method == http.MethodHead {
		return 0, false
	}
	own, err := duplicate(f)
	if err != nil {
		return 0, false
	}
	if _, err := f.Seek(n, io.SeekCurrent); err != nil {
		_ = own.Close()
		return 0, false
	}
	if limited != nil {
		limited.N -= n
	}
	w.written += n
	w.file = &fileTail{f: own, off: off, left: n}
	return n, true
}

// waitTail sends the file before what the handler writes behind it.
func (w *response) waitTail() error {
	err := w.beginTail()
	for err == nil && w.file.left > 0 {
		if err = w.advance(); err == nil {
			err = w.ready()
		}
	}
	w.file.close()
	w.file = nil
	_ = w.hc.SetWaterMarks(0, 0, 0)
	return err
}

// sendTail sends the file after the handler has returned. It reports true if
// the client is slow and OnDrain is to call resumeTail.
func (w *response) sendTail() bool {
	if err := w.beginTail(); err != nil {
		w.closeAfter = true
		return false
	}
	return w.continueTail()
}

// beginTail sends what comes before the file.
func (w *response) beginTail() error {
	if err := w.flush(false); err != nil {
		return err
	}
	for n := w.file.left; n > 0; n -= min(n, 1<<30) {
		if _, err := w.enc.Data(nil, int(min(n, 1<<30))); err != nil {
			return err
		}
	}
	return nil
}

// continueTail sends what the client takes. It reports true as sendTail does.
func (w *response) continueTail() bool {
	for w.file.left > 0 {
		if err := w.advance(); err != nil {
			w.closeAfter = true
			break
		}
		w.hc.mu.Lock()
		w.tail = w.err == nil && w.hc.AboveHighWater()
		waiting := w.tail
		w.hc.mu.Unlock()
		if waiting {
			return true
		}
	}
	_ = w.hc.SetWaterMarks(0, 0, 0)
	return false
}

// resumeTail is the job that goes on with a file.
func (w *response) resumeTail(sluice.Conn) {
	if !w.continueTail() {
		w.complete()
	}
}

// drained lets those go on who wait for the client to read, with conn.mu held.
// It reports whether resumeTail is to be called.
func (w *response) drained() bool {
	w.cond.Broadcast()
	resume := w.tail
	w.tail = false
	return resume
}

// advance sends a part of the file: what the kernel takes at once or, if that
// is nothing, a piece that is queued.
func (w *response) advance() error {
	t := w.file
	n, err := w.hc.SendFile(t.f, t.off, t.left)
	t.off += n
	t.left -= n
	piece := int64(filePiece)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		piece = readPiece
	case n > 0 || err != nil:
		return err
	}
	// One byte that waits is enough for OnDrain to tell when it has left.
	if err := w.hc.SetWaterMarks(0, 0, 1<<30); err != nil {
		return err
	}
	buf := copyBuffers.Get().(*[readPiece]byte)
	defer copyBuffers.Put(buf)
	p := buf[:min(piece, t.left)]
	if _, err := t.f.ReadAt(p, t.off); err != nil {
		return err // the file has become shorter
	}
	if _, err := w.hc.Write(p); err != nil {
		return err
	}
	t.off += int64(len(p))
	t.left -= int64(len(p))
	return nil
}
