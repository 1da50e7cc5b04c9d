package price

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Amount is money in millionths of the table's currency unit: 1 USD is 1,000,000.
type Amount int64

const (
	unit   = 1_000_000
	digits = 6 // of an Amount, after the decimal point
)

// String returns the amount in the currency's unit, as a decimal number without trailing zeros:
// "0.000245".
func (a Amount) String() string {
	sign, n := "", uint64(a) //nolint:gosec // negated below
	if a < 0 {
		sign, n = "-", -n
	}
	text := strconv.FormatUint(n%unit, 10)
	text = strings.TrimRight(strings.Repeat("0", digits-len(text))+text, "0")
	if text != "" {
		text = "." + text
	}
	return sign + strconv.FormatUint(n/unit, 10) + text
}

// sum adds products exactly, in 128 bits.
type sum struct{ hi, lo uint64 }

// Bounds of counts: with their factor in [Row.cost] they stay below 2⁶¹, and with a price below 2⁶⁰
// eight of them below 2¹²⁸.
const (
	mostTokens = 1 << 40
	mostOthers = 1 << 31
)

// add adds n times price times factor.
func (s *sum) add(n, most int64, price, factor uint64) {
	hi, lo := bits.Mul64(uint64(min(max(n, 0), most))*factor, price) //nolint:gosec // not negative
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, lo, 0)
	s.hi, _ = bits.Add64(s.hi, hi, carry)
}

// over returns the sum divided by d, rounded half to even, or up. Beyond the largest Amount it is
// that.
func (s *sum) over(d uint64, up bool) Amount {
	if s.hi >= d {
		return math.MaxInt64
	}
	n, rest := bits.Div64(s.hi, s.lo, d)
	missing := d - rest // to the next
	if rest > 0 && (up || missing < rest || missing == rest && n%2 == 1) {
		n = max(n, n+1) // not beyond 64 bits
	}
	return Amount(min(n, math.MaxInt64))
}
