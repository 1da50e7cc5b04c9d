package connect_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// zone is a DNS server with the addresses of one name, always in the same order.
type zone struct{ addrs atomic.Pointer[[]netip.Addr] }

func (z *zone) set(addrs ...string) {
	list := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		list[i] = netip.MustParseAddr(a)
	}
	z.addrs.Store(&list)
}

// resolver returns a resolver that asks only the zone.
func (z *zone) resolver(tb testing.TB) *net.Resolver {
	tb.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = pc.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(z.respond(buf[:n]), from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

// respond makes the response to a query of one question (RFC 1035 §4).
func (z *zone) respond(query []byte) []byte {
	end := 12 + strings.IndexByte(string(query[12:]), 0) + 5
	res := append([]byte{query[0], query[1], 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0}, query[12:end]...)
	const v4, v6 = 1, 28
	for _, a := range *z.addrs.Load() {
		kind := uint16(v4)
		if a.Is6() {
			kind = v6
		}
		if binary.BigEndian.Uint16(query[end-4:]) != kind {
			continue
		}
		res[7]++
		res = append(res, 0xc0, 12)
		res = binary.BigEndian.AppendUint16(res, kind)
		res = append(res, 0, 1, 0, 0, 0, 1)
		res = binary.BigEndian.AppendUint16(res, uint16(a.BitLen()/8))
		res = append(res, a.AsSlice()...)
	}
	return res
}
