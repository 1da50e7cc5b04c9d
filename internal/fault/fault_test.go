package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/ginfer/ginfer/internal/fault"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestJoin(t *testing.T) {
	t.Parallel()
	a, b := errors.New("a"), errors.New("b")
	for want, err := range map[string]error{
		"a":       fault.Join(nil, a, nil),
		"a; b":    fault.Join(a, b),
		"a; b; a": fault.Join(fault.Join(a, b), nil, a),
		"b; a":    fault.Join(b, errors.Join(a)),
		"a; b; b": fault.Join(errors.Join(a, b), b),
	} {
		require.EqualError(t, err, want)
	}
	require.NoError(t, fault.Join(nil, nil))
	require.NoError(t, fault.Join())
	all, ok := fault.Join(fault.Join(a), fault.Join(b, a)).(interface{ Unwrap() []error })
	require.True(t, ok, "as of errors.Join")
	assert.Equal(t, []error{a, b, a}, all.Unwrap())
	assert.Implements(t, (*interface{ Unwrap() []error })(nil), fault.Join(a), "a single one too")
	err := fault.Join(a, fault.Join(b, fmt.Errorf("c: %w", io.EOF)))
	for _, one := range []error{a, b, io.EOF} {
		require.ErrorIs(t, err, one)
	}
	require.NotErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NotPanics(t, func() { _ = errors.Is(err, err) }, "joined errors are compared")
}
