package llm

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
)

// named are the types and codes of servers' errors, in the spelling of [plain].
//
//nolint:gochecknoglobals // a constant
var named = kindsOf(map[Kind]string{
	ContextLength: "contextlengthexceeded exceedcontextsize contextwindowexceeded modelcontextwindowexceeded contextlength",

	Quota: "insufficientquota billing billinghardlimitreached billingnotactive quotaexceeded insufficientbalance insufficientcredits creditsexhausted " +
		"creditlimit creditlimitexceeded exceededcurrentquota arrearage paymentrequired",

	Rate: "ratelimit ratelimitexceeded ratelimitreached toomanyrequests resourceexhausted ratelimited throttling throttled servicequotaexceeded requestthrottled " +
		"throttling.ratequota throttling.allocationquota",

	Auth: "authentication permission permissiondenied unauthenticated invalidapikey unauthorized accountdeactivated forbidden invalidtoken accessdenied " +
		"invalidauthentication requestforbidden unsupportedcountryregionterritory unrecognizedclient expiredtoken incorrectapikey missingapikey",

	Overloaded: "overloaded engineoverloaded unavailable slowdown serviceunavailable modeloverloaded capacityexceeded servicetiercapacityexceeded nocapacity " +
		"modelnotready healthcheck unhealthy",

	ServerFault: "server internalserver internal deadlineexceeded timeout generation incompletegeneration modelstream modelerror modelstreamerror modeltimeout gatewaytimeout " +
		"badgateway enginedead vllmengine",

	BadRequest: "notfound requesttoolarge contentfilter contentpolicyviolation invalidprompt failedprecondition outofrange unimplemented modelnotfound " +
		"unprocessableentity invalidimage invalidvalue unsupportedvalue missingrequiredparameter unknownparameter unsupportedparameter " +
		"responsibleaipolicyviolation deploymentnotfound invalidmodel stringabovemaxlength arrayabovemaxlength imagegenerationuser template tool " +
		"notsupported resourcenotfound methodnotallowed datainspectionfailed invalidparameter moderationblocked previousresponsenotfound",
})

// vague are types and codes without a specific reason: anything else known takes
// precedence.
//
//nolint:gochecknoglobals // a constant
var vague = kindsOf(map[Kind]string{
	BadRequest:  "invalidrequest badrequest validation invalidargument invalidrequestmessageorder invalidrequestinvalidargs",
	ServerFault: "api",
})

func kindsOf(names map[Kind]string) map[string]Kind {
	out := map[string]Kind{}
	for kind, all := range names {
		for name := range strings.FieldsSeq(all) {
			out[name] = kind
		}
	}
	return out
}

// plain maps rate_limit_error, RateLimitError and rate-limit-exception to one spelling.
func plain(name string) string {
	if len(name) > 64 {
		return ""
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case r == '_' || r == '-' || r == ' ':
			return -1
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, name)
	return strings.TrimSuffix(strings.TrimSuffix(name, "error"), "exception")
}

// Classify returns the kind of an error by the most specific of its code, its type, its
// message where that is clear, and its status. Status is the response's or the one in the
// error; 0 is none.
func Classify(status int, typ, code, message string) Kind {
	codeName, typeName := plain(code), plain(typ)
	byCode, byType := named[codeName], named[typeName]
	if byType == ContextLength || byType == Quota {
		byCode = cmp.Or(exact(byCode), byType)
	}
	byMessage := UnknownKind
	if status < http.StatusInternalServerError {
		byMessage = ofMessage(message)
	}
	byStatus := cmp.Or(ofStatus(statusIn(code)), ofStatus(statusIn(typ)), ofStatus(status))
	return cmp.Or(byCode, byType, byMessage, exact(byStatus), vague[codeName], vague[typeName], byStatus)
}

// exact returns k unless it only separates client from server errors.
func exact(k Kind) Kind {
	if k == BadRequest || k == ServerFault {
		return UnknownKind
	}
	return k
}

// statusIn returns the error status that a code is; 0 if it is none.
func statusIn(code string) int {
	if n, err := strconv.Atoi(code); err == nil && n >= 400 && n <= 599 {
		return n
	}
	return 0
}

// words are phrases in messages of servers without specific codes.
//
//nolint:gochecknoglobals // a constant
var words = [...]struct {
	text string
	kind Kind
}{
	{"maximum context length", ContextLength},
	{"context window", ContextLength},
	{"context length", ContextLength},
	{"context size", ContextLength},
	{"context limit", ContextLength},
	{"prompt is too long", ContextLength},
	{"input is too long", ContextLength},
	{"must have less than", ContextLength},
	{"`max_new_tokens` must be", ContextLength},
	{"too many input tokens", ContextLength},
	{"too many tokens: ", ContextLength},
	{"input token count", ContextLength},
	{"exceeds the maximum number of tokens", ContextLength},
	{"reduce the length of the messages", ContextLength},
	{"longer than the maximum model length", ContextLength},

	{"credit balance is too low", Quota},
	{"insufficient balance", Quota},
	{"insufficient credits", Quota},

	{"api key not valid", Auth},
	{"incorrect api key", Auth},
}

func ofMessage(message string) Kind {
	m := strings.ToLower(message)
	for _, w := range words {
		if strings.Contains(m, w.text) {
			return w.kind
		}
	}
	return UnknownKind
}

// ofStatus returns the kind of a status without further details.
func ofStatus(status int) Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return Auth
	case http.StatusPaymentRequired:
		return Quota
	case http.StatusTooManyRequests:
		return Rate
	case http.StatusRequestTimeout:
		return UnknownKind
	case http.StatusFailedDependency: // of TGI, for a failed generation
		return ServerFault
	case http.StatusNotImplemented:
		return BadRequest
	case http.StatusServiceUnavailable, 529:
		return Overloaded
	}
	switch {
	case status >= 400 && status < 500:
		return BadRequest
	case status >= 500 && status <= 599:
		return ServerFault
	}
	return UnknownKind
}
