package price

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrNoPrice is the error of a model without a price at that upstream and time.
var ErrNoPrice = errors.New("price: no price")

// Table has the prices of models.
type Table struct {
	currency string
	rows     []*Row // the most specific first
}

// Currency returns the currency's name, such as "USD".
func (t *Table) Currency() string { return t.currency }

// Find returns the row that prices a model at an upstream and time: the time of admission, so that a
// price that changes while a request runs does not change its cost. The error is an [ErrNoPrice].
// Names are compared byte for byte.
func (t *Table) Find(model, upstream string, at time.Time) (*Row, error) {
	for _, r := range t.rows {
		if matches(r.model, model) && matches(r.upstream, upstream) && r.validAt(at) {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%w of model %q at upstream %q on %s", ErrNoPrice, model, upstream, at.UTC().Format(time.DateOnly))
}

// Row has the prices of the models that match it.
type Row struct {
	model, upstream string
	from, until     time.Time // zero: without a bound
	per             uint64    // tokens
	prices          prices
	tiers           []tier // by tokens, the most first
}

// scale is the number of parts of the currency's unit that prices are in.
const scale = 1_000_000_000_000

// prices are in 10⁻¹² of the currency's unit.
type prices struct {
	input, cached, written, output, reasoning uint64 // of "per" tokens
	request, image, second                    uint64
}

// tier has the prices of requests with more input tokens.
type tier struct {
	tokens int64
	prices prices
}

// Name returns the row's model and upstream as they are in the table.
func (r *Row) Name() (model, upstream string) { return r.model, r.upstream }

func (r *Row) validAt(t time.Time) bool {
	return !t.Before(r.from) && (r.until.IsZero() || t.Before(r.until))
}

// sortRows puts the most specific row first.
func sortRows(rows []*Row) {
	slices.SortStableFunc(rows, func(a, b *Row) int {
		if d := specific(b.model) - specific(a.model); d != 0 {
			return d
		}
		if d := specific(b.upstream) - specific(a.upstream); d != 0 {
			return d
		}
		return b.from.Compare(a.from)
	})
}

// specific is higher for longer text, and highest without *.
func specific(pattern string) int {
	n := len(pattern) - strings.Count(pattern, "*")
	if n == len(pattern) {
		return 2*n + 1 // an empty name is a name too
	}
	return 2 * n
}

// matches reports whether a name has the form of a pattern, in which * is any text.
func matches(pattern, name string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == name
	}
	if !strings.HasPrefix(name, head) {
		return false
	}
	name = name[len(head):]
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(name, part)
		}
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(part):], next
	}
}
