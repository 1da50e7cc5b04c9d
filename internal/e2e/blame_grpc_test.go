package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginfer/ginfer/breaker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// grpcServer is a gRPC endpoint. The method's name selects its behaviour: "Echo", "Wait",
// or the status code to return, with the prefix "Late" to send a message first.
type grpcServer struct {
	addr  string
	calls atomic.Int64
}

func newGRPCServer(t *testing.T) *grpcServer {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &grpcServer{addr: l.Addr().String()}
	server := grpc.NewServer(grpc.UnknownServiceHandler(s.serve))
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return s
}

func (s *grpcServer) serve(_ any, stream grpc.ServerStream) error {
	s.calls.Add(1)
	full, _ := grpc.MethodFromServerStream(stream)
	name := full[strings.LastIndexByte(full, '/')+1:]
	switch name {
	case "Echo":
		return echo(stream)
	case "Wait":
		<-stream.Context().Done()
		return grpcstatus.FromContextError(stream.Context().Err()).Err()
	}
	if err := stream.RecvMsg(new(wrapperspb.StringValue)); err != nil {
		return err
	}
	name, late := strings.CutPrefix(name, "Late")
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		if code.String() != name {
			continue
		}
		if late || code == codes.OK {
			if err := stream.SendMsg(wrapperspb.String("hello")); err != nil {
				return err
			}
		}
		return grpcstatus.Error(code, "as requested")
	}
	return grpcstatus.Error(codes.Unimplemented, name)
}

// echo returns each message, and at the end the number of messages.
func echo(stream grpc.ServerStream) error {
	for n := 0; ; n++ {
		m := new(wrapperspb.StringValue)
		switch err := stream.RecvMsg(m); {
		case errors.Is(err, io.EOF):
			return stream.SendMsg(wrapperspb.String(strconv.Itoa(n)))
		case err != nil:
			return err
		}
		if err := stream.SendMsg(m); err != nil {
			return err
		}
	}
}

// grpcClient is a gRPC client of a chain.
func grpcClient(t *testing.T, g *chain) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+g.addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// callContext is the context of a call by a caller.
func callContext(t *testing.T, caller string, limit time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+caller), limit)
}

// unary makes a call and returns its code.
func unary(t *testing.T, conn *grpc.ClientConn, caller, method string, limit time.Duration) codes.Code {
	t.Helper()
	ctx, cancel := callContext(t, caller, limit)
	defer cancel()
	return grpcstatus.Code(conn.Invoke(ctx, "/test.Service/"+method, wrapperspb.String("hello"), new(wrapperspb.StringValue)))
}

// A gRPC status in the head counts like one in the trailers: a few codes are failures of the
// endpoint, the others are not.
func TestBlameGRPC(t *testing.T) {
	t.Parallel()
	endpoints := map[codes.Code]bool{codes.Unavailable: true, codes.Internal: true, codes.Unknown: true, codes.DeadlineExceeded: true}
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		for _, place := range []string{"head", "trailers"} {
			if code == codes.OK && place == "head" {
				continue // a successful call has a message
			}
			t.Run(code.String()+"/"+place, func(t *testing.T) {
				t.Parallel()
				method := code.String()
				if place == "trailers" && code != codes.OK {
					method = "Late" + method
				}
				expectNone(t, blameOfGRPC(t, method, code, endpoints[code]))
			})
		}
	}
}

func blameOfGRPC(t *testing.T, method string, code codes.Code, endpoints bool) (problems []string) {
	t.Helper()
	s := newGRPCServer(t)
	g := chainSetup{urls: []string{"http://" + s.addr}, protocol: "h2c"}.start(t)
	conn := grpcClient(t, g)
	for i := range blameRepeats {
		got := unary(t, conn, "bad", method, 5*time.Second)
		if refused := endpoints && got == codes.Unavailable; got != code && !refused {
			problems = append(problems, fmt.Sprintf("call %d: %v", i, got))
		}
	}
	problems = append(problems, g.awaitIdle()...)
	if !endpoints {
		problems = append(problems, g.blamed()...)
		if got := unary(t, conn, "good", "OK", 5*time.Second); got != codes.OK {
			problems = append(problems, "a good call is not served: "+got.String())
		}
		return problems
	}
	for _, c := range g.circuits.Status() {
		if c.State == breaker.Closed {
			problems = append(problems, "the circuit of the endpoint is closed")
		}
	}
	return problems
}

// The client's own deadline, which the server reports as a status, and a canceled call are
// not failures of the endpoint.
func TestBlameGRPCDeadline(t *testing.T) {
	t.Parallel()
	s := newGRPCServer(t)
	g := chainSetup{urls: []string{"http://" + s.addr}, protocol: "h2c"}.start(t)
	conn := grpcClient(t, g)
	for range blameRepeats {
		require.NotEqual(t, codes.OK, unary(t, conn, "bad", "Wait", 20*time.Millisecond))
	}
	problems := append(g.awaitIdle(), g.blamed()...)
	if got := unary(t, conn, "good", "OK", 5*time.Second); got != codes.OK {
		problems = append(problems, "a good call is not served: "+got.String())
	}
	expectNone(t, problems)
}

// RESOURCE_EXHAUSTED starts a cooldown: the next calls go to another endpoint.
func TestBlameGRPCCooldown(t *testing.T) {
	t.Parallel()
	for place, method := range map[string]string{"head": "ResourceExhausted", "trailers": "LateResourceExhausted"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			one, two := newGRPCServer(t), newGRPCServer(t)
			g := chainSetup{urls: []string{"http://" + one.addr, "http://" + two.addr}, protocol: "h2c"}.start(t)
			conn := grpcClient(t, g)
			require.Equal(t, codes.ResourceExhausted, unary(t, conn, "caller", method, 5*time.Second))
			problems := g.awaitIdle()
			exhausted, other := one, two
			if two.calls.Load() > 0 {
				exhausted, other = two, one
			}
			for range 4 {
				require.Equal(t, codes.OK, unary(t, conn, "caller", "OK", 5*time.Second))
			}
			if exhausted.calls.Load() != 1 || other.calls.Load() != 4 {
				problems = append(problems, fmt.Sprintf("%d calls went to the exhausted endpoint", exhausted.calls.Load()-1))
			}
			expectNone(t, append(problems, g.blamed()...))
		})
	}
}

// Messages flow in both directions concurrently, also with retries, which buffer bodies.
func TestBlameGRPCStreams(t *testing.T) {
	t.Parallel()
	for _, retry := range []bool{true, false} {
		variant := map[bool]string{true: "on", false: "off"}[retry]
		t.Run("retry "+variant, func(t *testing.T) {
			t.Parallel()
			s := newGRPCServer(t)
			g := chainSetup{urls: []string{"http://" + s.addr}, protocol: "h2c", retry: retry}.start(t)
			var problems []string
			if err := bidirectional(t, grpcClient(t, g)); err != nil {
				problems = append(problems, err.Error())
			}
			problems = append(problems, g.awaitIdle()...)
			expectNone(t, append(problems, g.blamed()...))
		})
	}
}

// bidirectional waits for the echo of each message before it sends the next one.
func bidirectional(t *testing.T, conn *grpc.ClientConn) error {
	t.Helper()
	ctx, cancel := callContext(t, "caller", 3*time.Second)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Service/Echo")
	if err != nil {
		return err
	}
	for i := range 5 {
		sent, echoed := strings.Repeat("a", i*1000), new(wrapperspb.StringValue)
		if err := errors.Join(stream.SendMsg(wrapperspb.String(sent)), stream.RecvMsg(echoed)); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		assert.Equal(t, sent, echoed.GetValue())
	}
	last := new(wrapperspb.StringValue)
	if err := errors.Join(stream.CloseSend(), stream.RecvMsg(last)); err != nil {
		return fmt.Errorf("after the client's end: %w", err)
	}
	assert.Equal(t, "5", last.GetValue())
	if err := stream.RecvMsg(last); !errors.Is(err, io.EOF) {
		return fmt.Errorf("no clean end: %w", err)
	}
	return nil
}
