package observe

import (
	"math"
	"math/bits"
	"time"
)

// series is a ring of buckets, one for each of the latest seconds.
type series struct {
	last    int64 // the newest second with data
	seconds []bucket
}

// bucket is the data of one second.
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

// at returns the bucket of a second, or nil if the second is too old.
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

// figures returns the averages of n seconds.
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
	f.FirstToken.Count = int64(sum.times.count)
	f.FirstToken.P50, f.FirstToken.P95 = sum.times.quantile(0.5), sum.times.quantile(0.95)
	return f
}

// times is a histogram with exponential buckets like HdrHistogram's, 16 for each doubling,
// so that the middle of a bucket has an error of at most 1/32.
type times struct {
	count   uint32
	buckets [timeBuckets]uint32
}

const (
	// timeUnit is the width of the first buckets: 1/16 ms.
	timeUnit = time.Millisecond / 16
	// timeBits is the length of the longest duration in units: 131 s.
	timeBits    = 21
	timeBuckets = (timeBits - 4 + 1) * 16
)

func (t *times) add(d time.Duration) {
	t.count++
	t.buckets[timeBucket(uint64(d/timeUnit))]++ //nolint:gosec // positive
}

// timeBucket returns the bucket of a number of units.
func timeBucket(units uint64) int {
	units = min(units, 1<<timeBits-1)
	shift := max(bits.Len64(units)-5, 0)
	return shift*16 + int(units>>shift) //nolint:gosec // below 32
}

// bucketTime returns the middle of a bucket, in milliseconds.
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

// quantile returns the duration that a share q of the observations did not exceed, in
// milliseconds.
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
