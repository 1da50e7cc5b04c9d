package jet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// A file is a row of messages, one chunk each, so that it can be read from any
// offset, at any pace, and across the loss of a server. (The object store of the
// client reads through a push consumer: it has no ranges, ends at a deadline, and
// drops what a slow reader does not take.)
const (
	chunkSize = 128 << 10
	// pipelined is the number of chunks that are sent before the first is acknowledged.
	pipelined = 8
)

// Files are the files, and the payloads too large for a message.
type Files struct {
	*conn
	stream jetstream.Stream
}

func (s *Files) chunkSubject(name string, n int64) string {
	return s.cfg.Name + ".f." + name + "." + strconv.FormatInt(n, 10)
}

// Save stores the content of r under a name, in place of an older file. It returns an
// error of r unchanged, and stores nothing then.
func (s *Files) Save(ctx context.Context, name string, r io.Reader) (size int64, err error) {
	if err := s.Remove(ctx, name); err != nil {
		return 0, err
	}
	w := chunkWriter{files: s, name: name}
	if size, err = w.copy(ctx, r); err != nil {
		ctx, cancel := cleanup(ctx)
		defer cancel()
		for len(w.sent) > 0 { // chunks in flight must arrive before they can be removed
			_ = await(ctx, w.sent[0].ack)
			w.sent = w.sent[1:]
		}
		_ = s.Remove(ctx, name)
		return 0, err
	}
	return size, nil
}

// cleanup returns the context in which a part of a file is removed. What remains expires.
func cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := attempts * attemptTimeout
	if hasty(ctx) {
		limit = hasteLimit / 7
	}
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}

// chunkWriter sends a few chunks at once.
type chunkWriter struct {
	files *Files
	name  string
	sent  []sentChunk
	n     int64
}

type sentChunk struct {
	msg *nats.Msg
	ack jetstream.PubAckFuture
}

func (w *chunkWriter) copy(ctx context.Context, r io.Reader) (size int64, err error) {
	for {
		chunk := make([]byte, chunkSize)
		n, err := fill(r, chunk)
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return 0, err
		}
		size += int64(n)
		if n > 0 {
			if err := w.send(ctx, chunk[:n]); err != nil {
				return 0, err
			}
		}
		if end {
			return size, w.settle(ctx, 0)
		}
	}
}

// fill reads until p is full or r ends. Unlike io.ReadFull, it distinguishes the end from
// an io.ErrUnexpectedEOF of r, which a truncated request body returns.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = r.Read(p[n:])
		n += more
	}
	return n, err
}

func (w *chunkWriter) send(ctx context.Context, chunk []byte) error {
	m := &nats.Msg{Subject: w.files.chunkSubject(w.name, w.n), Data: chunk}
	ack, err := w.files.js.PublishMsgAsync(m)
	if err != nil {
		return classify(err)
	}
	w.sent = append(w.sent, sentChunk{m, ack})
	w.n++
	return w.settle(ctx, pipelined)
}

// settle waits until at most limit chunks are in flight.
func (w *chunkWriter) settle(ctx context.Context, limit int) error {
	for len(w.sent) > limit {
		first := w.sent[0]
		w.sent = w.sent[1:]
		err := await(ctx, first.ack)
		if errors.Is(err, ErrUnavailable) && !hasty(ctx) {
			err = w.files.retry(ctx, func(ctx context.Context) error {
				_, err := w.files.js.PublishMsg(ctx, first.msg)
				return err
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// File reads a stored file, with the context of Open.
type File struct {
	next  func() ([]byte, error)
	chunk []byte
	left  int64
}

// Open reads the file of a name and size from an offset. A missing chunk is an error
// of Read.
func (s *Files) Open(ctx context.Context, name string, size, offset int64) *File {
	n := offset / chunkSize
	f := &File{left: max(size-offset, 0)}
	skip := offset % chunkSize
	f.next = func() ([]byte, error) {
		chunk, err := s.chunk(ctx, name, n)
		if err != nil {
			return nil, fmt.Errorf("chunk %d of %s: %w", n, name, err)
		}
		n++
		chunk, skip = chunk[min(skip, int64(len(chunk))):], 0
		return chunk, nil
	}
	return f
}

func (s *Files) chunk(ctx context.Context, name string, n int64) ([]byte, error) {
	m, err := s.last(ctx, s.stream, s.chunkSubject(name, n))
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

// Read implements io.Reader.
func (f *File) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	if len(f.chunk) == 0 {
		chunk, err := f.next()
		if err != nil {
			return 0, err
		}
		if f.chunk = chunk; len(chunk) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
	}
	n := copy(p[:min(int64(len(p)), f.left)], f.chunk)
	f.chunk = f.chunk[n:]
	f.left -= int64(n)
	return n, nil
}

// Remove deletes a file. It need not exist.
func (s *Files) Remove(ctx context.Context, name string) error {
	return s.retry(ctx, func(ctx context.Context) error {
		return s.stream.Purge(ctx, jetstream.WithPurgeSubject(s.cfg.Name+".f."+name+".>"))
	})
}

// putBlob stores a payload under a new name, which contains its size.
func (s *Files) putBlob(ctx context.Context, payload []byte) (string, error) {
	name := "blob-" + nuid.Next()
	_, err := s.Save(ctx, name, bytes.NewReader(payload))
	return name + "/" + strconv.Itoa(len(payload)), err
}

func (s *Files) getBlob(ctx context.Context, blob string) ([]byte, error) {
	name, digits, _ := strings.Cut(blob, "/")
	size, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: blob %q", ErrNotFound, blob)
	}
	return io.ReadAll(s.Open(ctx, name, size, 0))
}

// dropBlob removes a payload that no message refers to. If that fails it expires as
// files do.
func (s *Files) dropBlob(ctx context.Context, blob string) {
	if name, _, ok := strings.Cut(blob, "/"); ok {
		_ = s.Remove(context.WithoutCancel(ctx), name)
	}
}
