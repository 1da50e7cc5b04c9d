package rollout

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/ginfer/ginfer/internal/fault"
)

// NewFileStore returns a Store in a folder, with one file per rollout. Use it for a single
// process that must survive a restart. The folder is created on the first save.
func NewFileStore(folder string) Store { return &fileStore{folder: folder} }

type fileStore struct {
	folder string
	mu     sync.Mutex
}

func (s *fileStore) file(name string) string {
	return filepath.Join(s.folder, fmt.Sprintf("%x.json", sha256.Sum256([]byte(name)))) // names may be long
}

// Load implements Store.
func (s *fileStore) Load(ctx context.Context, name string) (Progress, error) {
	if err := ctx.Err(); err != nil {
		return Progress{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.load(name)
}

func (s *fileStore) load(name string) (p Progress, err error) {
	text, err := os.ReadFile(s.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return Progress{}, fmt.Errorf("%s: %w", s.file(name), err)
	}
	return p, nil
}

// Save implements Store.
func (s *fileStore) Save(ctx context.Context, name string, p Progress) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.load(name)
	if err != nil {
		return err
	}
	if old.Revision != p.Revision-1 {
		return ErrConflict
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.folder, 0o750); err != nil {
		return err
	}
	temporary := s.file(name) + ".new"
	if err := writeFile(temporary, text); err != nil {
		return err
	}
	return os.Rename(temporary, s.file(name))
}

// writeFile is os.WriteFile with a sync: without it a renamed file may be empty after a
// power failure.
func writeFile(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // in a folder that the operator names
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return fault.Join(err, f.Sync(), f.Close())
}
