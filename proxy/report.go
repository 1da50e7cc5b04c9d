package proxy

import (
	"context"

	"github.com/ginfer/ginfer/internal/exchange"
)

// Blame is whose fault it was that an attempt was no success.
type Blame uint8

// Whose fault it may be. Circuits and the ejection of endpoints count BlameEndpoint only.
const (
	BlameNobody Blame = iota
	// BlameEndpoint: the server that was called failed.
	BlameEndpoint
	// BlameRequest: any server would refuse the request.
	BlameRequest
	// BlameCredential: the credential is spent, too busy, or not accepted.
	BlameCredential
	// BlameClient: the client left, or sent a body that broke off.
	BlameClient
	// BlameGateway: a layer of the gateway failed.
	BlameGateway
)

// Verdict is how an attempt ended, and whose fault that was.
type Verdict struct {
	// Outcome is Success, Failure or Canceled. Default Success.
	Outcome Outcome
	// Blame is whose fault it was. Default BlameNobody.
	Blame Blame
	// Repeatable says that another attempt may do better. Default false.
	Repeatable bool
	// Err is why, for logs. Default none.
	Err error
}

// Report records the verdict on the attempt under way, for a RoundTripper that knows better
// than what the response says. The context is that of the request it was given. Circuits,
// balancers, retries and logs follow it. The first report of an attempt stands, and it must
// be made before the response's body has ended; false: it is too late, ctx has no attempt,
// or an attempt can't end so.
func Report(ctx context.Context, v Verdict) bool {
	a := exchange.Current(ctx)
	if a == nil || v.Outcome < Success || v.Outcome > Canceled || v.Blame > BlameGateway {
		return false
	}
	outcomes := [...]exchange.Outcome{Success: exchange.Success, Failure: exchange.Failure, Canceled: exchange.Canceled}
	blames := [...]exchange.Blame{
		BlameNobody: exchange.Nobody, BlameEndpoint: exchange.Endpoint, BlameRequest: exchange.Request,
		BlameCredential: exchange.Credential, BlameClient: exchange.Client, BlameGateway: exchange.Gateway,
	}
	return a.Note(exchange.Verdict{Outcome: outcomes[v.Outcome], Blame: blames[v.Blame], Repeatable: v.Repeatable, Err: v.Err})
}
