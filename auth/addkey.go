package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// AddKey makes a key that begins with prefix (usually [DefaultPrefix]) and adds e,
// with the key's hash, to a file for [APIKeysConfig]; it makes a file that is
// missing, readable by its owner only. The file is replaced as a whole, or, on any
// error, stays as it was: also when it is no good, or when another AddKey is at
// it. The key is in no file: it is shown to its owner once.
func AddKey(file, prefix string, e KeyEntry) (key string, err error) {
	if e.Hash != "" {
		return "", errors.New("auth: AddKey: KeyEntry.Hash is set")
	}
	if err := e.check(); err != nil {
		return "", fmt.Errorf("auth: AddKey: %w", err)
	}
	// Its name keeps others out: two could not both be the next file.
	next, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names the file
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("auth: AddKey: %s.new exists: another one is at work, or was interrupted; remove it then", file)
	}
	if err != nil {
		return "", fmt.Errorf("auth: AddKey: %w", err)
	}
	key, e.Hash = NewKey(prefix)
	err = writeKeys(next, file, e)
	if err = errors.Join(err, next.Close()); err == nil {
		err = os.Rename(next.Name(), file)
	}
	if err != nil {
		_ = os.Remove(next.Name())
		return "", fmt.Errorf("auth: AddKey: %w", err)
	}
	return key, nil
}

// writeKeys writes the entries of a file and one more.
func writeKeys(next *os.File, file string, e KeyEntry) error {
	entries, err := readEntries(next, file)
	if err != nil {
		return err
	}
	out := json.NewEncoder(next)
	out.SetIndent("", "  ")
	return errors.Join(out.Encode(map[string]any{"keys": append(entries, e)}), next.Sync())
}

// readEntries reads a file, and gives the next one its permissions.
func readEntries(next *os.File, file string) ([]KeyEntry, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the operator names it
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
