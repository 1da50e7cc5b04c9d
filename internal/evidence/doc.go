// Package evidence counts the exchanges of the last ten seconds by outcome and by caller, so
// that no single caller or path decides about an endpoint's health. It never fails; callers
// beyond the first 16 of a window are counted together.
package evidence
