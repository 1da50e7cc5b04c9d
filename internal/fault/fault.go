// Package fault joins errors into one with a single line of text, for logs and terminals.
package fault

import "strings"

// Join is errors.Join with a text of one line: the texts of the errors, separated by "; ". It
// drops nil errors and returns nil if nothing is left. Its Unwrap returns the errors, those of
// joined ones in their place.
func Join(errs ...error) error {
	var list []error
	for _, err := range errs {
		switch err := err.(type) { //nolint:errorlint // only what was joined here is flattened
		case nil:
		case *joined:
			list = append(list, err.errs...)
		default:
			list = append(list, err)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return &joined{list}
}

type joined struct{ errs []error }

// Error implements error.
func (j *joined) Error() string {
	texts := make([]string, len(j.errs))
	for i, err := range j.errs {
		texts[i] = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return strings.Join(texts, "; ")
}

// Unwrap lets errors.Is and errors.As see every error.
func (j *joined) Unwrap() []error { return j.errs }
