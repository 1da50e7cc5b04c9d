package batch

import (
	"context"
	"io"

	"github.com/ginfer/ginfer/queue/internal/jet"
)

// sink writes a file. The file is created by the first write.
type sink struct {
	id    string
	store *jet.Store
	w     *io.PipeWriter
	end   chan error
	size  int64
}

func (s *sink) write(ctx context.Context, line []byte) error {
	if s.w == nil {
		r, w := io.Pipe()
		s.w, s.end = w, make(chan error, 1)
		go func() {
			n, err := s.store.Files.Save(ctx, s.id, r)
			s.size = n
			_ = r.CloseWithError(err)
			s.end <- err
		}()
	}
	_, err := s.w.Write(line)
	return err
}

// close waits until the file is stored. With an err nothing is stored.
func (s *sink) close(err error) error {
	if s.w == nil {
		return nil
	}
	_ = s.w.CloseWithError(err)
	return <-s.end
}

// used returns the ID of the file, if it was created.
func (s *sink) used() string {
	if s.w == nil {
		return ""
	}
	return s.id
}
