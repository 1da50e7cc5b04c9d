package proxy

import (
	"context"

	"github.com/ginfer/ginfer/internal/exchange"
)

// Blame is the party responsible for an attempt that was no success.
type Blame uint8

// The parties. Circuits and the ejection of endpoints count BlameEndpoint only.
const (
	BlameNobody Blame = iota
	// BlameEndpoint means that the called server failed.
	BlameEndpoint
	// BlameRequest means that any server would refuse the request.
	BlameRequest
	// BlameCredential means that the credential is spent, limited or not accepted.
	BlameCredential
	// BlameClient means that the client left, or sent a body that broke off.
	BlameClient
	// BlameGateway means that a layer of the gateway failed.
	BlameGateway
)

// Verdict is the judgment of an attempt, for [Report].
type Verdict struct {
	// Outcome is Success, Failure or Canceled. Default: Success.
	Outcome Outcome
	// Blame is the party responsible. Default: BlameNobody.
	Blame Blame
	// Repeatable reports that another attempt may do better. Default: false.
	Repeatable bool
	// Err is the reason, for logs. Default: nil.
	Err error
}

// Report sets the verdict on the current attempt. Use it in a RoundTripper that knows more than
// the response says. The context is that of its request. Circuits, balancers, retries and logs
// follow the verdict. The first report of an attempt stands. Report returns false if the
// response's body has already ended, if ctx has no attempt, or if v is not valid.
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
