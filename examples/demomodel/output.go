package demomodel

import (
	"strings"
	"unicode/utf8"
)

// output turns the pieces of tokens into the text to emit: whole characters
// only, and nothing that is or may become part of a stop string.
type output struct {
	stop []string
	trim bool // drop spaces before the first word
	emit func(text string) error

	partial []byte // an incomplete character
	held    []byte // what may begin a stop string
}

// write takes the next piece and reports whether it completed a stop string,
// which ends the text.
func (o *output) write(piece string) (stopped bool, err error) {
	o.partial = append(o.partial, piece...)
	for len(o.partial) > 0 && utf8.FullRune(o.partial) {
		r, n := utf8.DecodeRune(o.partial)
		o.held = utf8.AppendRune(o.held, r) // a byte that fits nowhere is U+FFFD
		o.partial = o.partial[:copy(o.partial, o.partial[n:])]
	}
	text := string(o.held)
	if at, ok := o.stopAt(text); ok {
		o.held = o.held[:at]
		return true, o.close()
	}
	return false, o.release(len(text) - o.undecided(text))
}

// close emits what was held back. An incomplete character is lost.
func (o *output) close() error { return o.release(len(o.held)) }

// release emits the first n held bytes.
func (o *output) release(n int) error {
	text := string(o.held[:n])
	o.held = o.held[:copy(o.held, o.held[n:])]
	if o.trim {
		text = strings.TrimLeft(text, " ")
	}
	if text == "" {
		return nil
	}
	o.trim = false
	return o.emit(text)
}

// stopAt returns where the stop string begins that ends first in text. How the
// text is cut into tokens makes no difference to it.
func (o *output) stopAt(text string) (at int, ok bool) {
	end := len(text) + 1
	for _, s := range o.stop {
		i := strings.Index(text, s)
		if i < 0 {
			continue
		}
		if e := i + len(s); e < end || (e == end && i < at) {
			at, end, ok = i, e, true
		}
	}
	return at, ok
}

// undecided returns the length of the longest end of text with which a stop
// string begins.
func (o *output) undecided(text string) int {
	longest := 0
	for _, s := range o.stop {
		for n := min(len(s)-1, len(text)); n > longest; n-- {
			if strings.HasSuffix(text, s[:n]) {
				longest = n
			}
		}
	}
	return longest
}
