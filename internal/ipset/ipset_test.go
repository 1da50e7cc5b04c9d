package ipset_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"testing"

	"github.com/ginfer/ginfer/internal/ipset"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContains(t *testing.T) {
	t.Parallel()
	s, err := ipset.Parse([]string{"10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::ffff:172.16.0.0/108", "fe80::1"})
	require.NoError(t, err)
	assert.Equal(t, 5, s.Len())
	for text, want := range map[string]bool{
		"10.1.2.3": true, "11.0.0.0": false, "192.0.2.7": true, "192.0.2.8": false,
		"2001:db8:1::": true, "2001:db9::": false, "::ffff:10.1.2.3": true, "172.16.5.5": true,
		"172.32.0.0": false, "fe80::1%eth0": true, "::": false,
	} {
		assert.Equal(t, want, s.Contains(netip.MustParseAddr(text)), text)
	}
	empty, err := ipset.Parse(nil)
	require.NoError(t, err)
	assert.False(t, empty.Contains(netip.MustParseAddr("10.0.0.1")))
}

func TestParseFaults(t *testing.T) {
	t.Parallel()
	_, err := ipset.Parse([]string{"10.0.0.0/8", "x", "10.0.0.1/8", "010.0.0.1", "10.0.0.0/33", "fe80::1%eth0", "::ffff:0:0/90"})
	for _, want := range []string{`[1]: "x" is neither`, `[2]: "10.0.0.1/8" has bits`, `[3]: "010.0.0.1" is neither`, `[4]: `, `[5]: "fe80::1%eth0" has a zone`, `[6]: `} {
		require.ErrorContains(t, err, want)
	}
	assert.NotContains(t, err.Error(), "[0]")
}

func BenchmarkContains(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			ranges := make([]string, n)
			for i := range ranges {
				ranges[i] = fmt.Sprintf("10.%d.%d.0/24", i/256%256, i%256)
			}
			s, err := ipset.Parse(ranges)
			require.NoError(b, err)
			addr := netip.MustParseAddr("10.3.77.12")
			b.ReportAllocs()
			for b.Loop() {
				s.Contains(addr)
			}
		})
	}
}
