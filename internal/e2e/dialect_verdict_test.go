package e2e_test

import (
	"fmt"
	"testing"
)

// findings collects what is wrong, so that a known failure can be told from a new one.
type findings struct{ faults []string }

// Errorf implements assert.TestingT.
func (v *findings) Errorf(format string, args ...any) {
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
}

// noError adds an error that should not be.
func (v *findings) noError(err error) {
	if err != nil {
		v.Errorf("error: %v", err)
	}
}

// broken adds a response that is not broken visibly.
func (v *findings) broken(got dialectResponse) {
	if got.err == nil {
		v.Errorf("it ends as if it were whole: %.300q", got.body)
	}
}

// same compares long texts, and shows none of them.
func (v *findings) same(want, got string) {
	if want != got {
		v.Errorf("%d bytes, not the same as %d that were sent", len(got), len(want))
	}
}

// judged runs a check. One that is listed as known to fail must fail.
func judged(t *testing.T, known string, check func(v *findings)) {
	t.Helper()
	v := new(findings)
	check(v)
	switch {
	case known != "" && len(v.faults) == 0:
		t.Errorf("it is right now: remove it from the list of known failures (%q)", known)
	case known != "":
		t.Skipf("known to fail: %s", known)
	}
	for _, f := range v.faults {
		t.Error(f)
	}
}
