package observe

import (
	"math"
	"math/bits"
	"time"
)

// series are buckets, one for each of the latest seconds.
type series struct {
	last    int64 // the newest second with something in it
	seconds []bucket
}

// bucket is what happened in one second.
type bucket struct {
	second                              int64
	success, failure, canceled, refused uint32
	input, output                       int64
	times                               times
}

func newSeries(seconds int64) *series { return &series{seconds: make([]bucket, seconds+1)} }

// add counts a request that ended in a second.
func (s *series) add(second int64, e *entry) {
	b := s.at(second)
	if b == nil {
		return
	}
	switch e.outcome {
	case outcomeSuccess:
		b.success++
	case outcomeFailure:
		b.failure++
	case outcomeCanceled:
		b.canceled++
	default:
		b.refused++
	}
	if e.usage != nil {
		b.input += e.usage.Input
	}
	if first := e.firstToken(); first > 0 {
		b.times.add(first)
	}
}

// at is the bucket of a second; nil when that is longer ago than everything is kept.
func (s *series) at(second int64) *bucket {
	b := &s.seconds[second%int64(len(s.seconds))]
	if b.second > second {
		return nil
	}
	if b.second != second {
		*b = bucket{second: second}
	}
	s.last = max(s.last, second)
	return b
}

// write spreads output tokens evenly over seconds.
func (s *series) write(begin, end, n int64) {
	begin = max(begin, end-int64(len(s.seconds))+1)
	for second := begin; second <= end; second++ {
		part := n / (end - second + 1)
		if b := s.at(second); b != nil {
			b.output += part
		}
		n -= part
	}
}

// figures are those of n seconds.
func (s *series) figures(first, n int64) LiveFigures {
	var sum bucket
	for second := first; second < first+n; second++ {
		b := &s.seconds[second%int64(len(s.seconds))]
		if b.second != second {
			continue
		}
		sum.success += b.success
		sum.failure += b.failure
		sum.canceled += b.canceled
		sum.refused += b.refused
		sum.input += b.input
		sum.output += b.output
		sum.times.merge(&b.times)
	}
	per := float64(n)
	f := LiveFigures{
		Success: float64(sum.success) / per, Failure: float64(sum.failure) / per,
		Canceled: float64(sum.canceled) / per, Refused: float64(sum.refused) / per,
		InputTokens: float64(sum.input) / per, OutputTokens: float64(sum.output) / per,
	}
	f.Requests = f.Success + f.Failure + f.Canceled + f.Refused
	f.FirstToken = LiveTimes{Count: int64(sum.times.count), P50: sum.times.quantile(0.5), P95: sum.times.quantile(0.95)}
	return f
}

// times is a histogram whose buckets grow with the values, as HdrHistogram's do: 16 for
// each doubling, so that the middle of a bucket is wrong by at most 1/32.
type times struct {
	count   uint32
	buckets [timeBuckets]uint32
}

const (
	// timeUnit is the width of the first buckets, in which 16 of them are 1 ms.
	timeUnit = time.Millisecond / 16
	// timeBits is the length of the longest time in units: 131 s.
	timeBits    = 21
	timeBuckets = (timeBits - 4 + 1) * 16
)

func (t *times) add(d time.Duration) {
	t.count++
	t.buckets[timeBucket(uint64(d/timeUnit))]++ //nolint:gosec // it is positive
}

// timeBucket is where a number of units is counted.
func timeBucket(units uint64) int {
	units = min(units, 1<<timeBits-1)
	shift := max(bits.Len64(units)-5, 0)
	return shift*16 + int(units>>shift) //nolint:gosec // it is below 32
}

// bucketTime is the middle of a bucket, in milliseconds.
func bucketTime(i int) float64 {
	shift := max(i/16-1, 0)
	low := float64(i-shift*16) * float64(uint64(1)<<shift)
	return (low + float64(uint64(1)<<shift)/2) * float64(timeUnit) / float64(time.Millisecond)
}

func (t *times) merge(o *times) {
	if o.count == 0 {
		return
	}
	t.count += o.count
	for i, n := range o.buckets {
		t.buckets[i] += n
	}
}

// quantile is the time that a part of all did not exceed, in milliseconds.
func (t *times) quantile(q float64) float64 {
	if t.count == 0 {
		return 0
	}
	want := uint32(math.Ceil(q * float64(t.count)))
	for i, n := range t.buckets {
		if n >= want {
			return bucketTime(i)
		}
		want -= n
	}
	return bucketTime(timeBuckets - 1)
}
