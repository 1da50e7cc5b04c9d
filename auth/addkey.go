package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ginfer/ginfer/internal/fault"
)

// AddKey creates a key with a prefix (usually [DefaultPrefix]) and adds e, with the key's
// hash, to the file of an [APIKeysConfig]. If the file does not exist, AddKey creates it,
// readable by its owner only. The file is replaced atomically; on any error it stays
// unchanged, also when it is invalid or another AddKey is under way. The key is stored
// nowhere: show it to its owner once.
func AddKey(file, prefix string, e KeyEntry) (key string, err error) {
	if e.Hash != "" {
		return "", errors.New("auth: AddKey: KeyEntry.Hash is set")
	}
	if err := e.check(); err != nil {
		return "", fmt.Errorf("auth: AddKey: %w", err)
	}
	// O_EXCL makes the temporary name a lock against another AddKey.
	next, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator chose the file
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("auth: AddKey: %s.new exists: another AddKey is running, or was interrupted; remove the file in that case", file)
	}
	if err != nil {
		return "", fmt.Errorf("auth: AddKey: %w", err)
	}
	key, e.Hash = NewKey(prefix)
	err = writeKeys(next, file, e)
	if err = fault.Join(err, next.Close()); err == nil {
		err = os.Rename(next.Name(), file)
	}
	if err != nil {
		_ = os.Remove(next.Name())
		return "", fmt.Errorf("auth: AddKey: %w", err)
	}
	return key, nil
}

// writeKeys writes the entries of a file and e.
func writeKeys(next *os.File, file string, e KeyEntry) error {
	entries, err := readEntries(next, file)
	if err != nil {
		return err
	}
	out := json.NewEncoder(next)
	out.SetIndent("", "  ")
	return fault.Join(out.Encode(map[string]any{"keys": append(entries, e)}), next.Sync())
}

// readEntries reads a file and sets its permissions on the next one.
func readEntries(next *os.File, file string) ([]KeyEntry, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the operator chose the file
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	old, err := parseKeyFile(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	return old.entries, next.Chmod(info.Mode().Perm())
}
