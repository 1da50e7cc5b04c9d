// Package hold keeps an answer back until it has begun to say something, so that a
// try which fails right after a good status line can still be replaced by another
// one. Of a stream of events that is its first event with content; of JSON it is the
// end, or [BufferSize] bytes.
package hold
