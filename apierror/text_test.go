package apierror_test

import (
	"errors"
	"testing"

	"github.com/ginfer/ginfer/apierror"
	"github.com/stretchr/testify/assert"
)

// The text of an error is one line of a log, whatever its cause is.
func TestTextIsOneLine(t *testing.T) {
	t.Parallel()
	cause := errors.Join(errors.New("one"), errors.New("two"))
	for name, tt := range map[string]struct {
		err  apierror.Error
		want string
	}{
		"without a cause":      {apierror.Error{Message: "No."}, "no"},
		"with a cause":         {apierror.Error{Message: "No.", Err: errors.New("late")}, "no: late"},
		"a cause of two lines": {apierror.Error{Message: "No.", Err: cause}, "no: one; two"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, tt.err.Error())
		})
	}
}
