// Package evidence counts how exchanges ended in the last ten seconds, and who made them,
// so that one caller, or one path, does not speak for all.
package evidence
