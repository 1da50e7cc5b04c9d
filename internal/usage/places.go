package usage

// place is where in a JSON text a value stands. Only places that say something
// have a name; both sides share one list of them, with a root each.
type place uint8

// Their order matters: see the methods below. They have no type, so that a
// switch need not name all of them.
const (
	nowhere = iota // nothing there is looked at

	// Text.
	atContent    // the model wrote this
	atFailure    // the error of an answer
	atBody       // of a request, whatever has no other place
	atSourceData // the text, URL or base64 data of a source
	atTool       // of a request: what the model may call
	atSchema     // of a request: what its answer must fit

	// Objects and arrays that are looked into.
	atAnswer // the root of an answer, or of the data of an event
	atChoices
	atChoice
	atReply // what a choice says, or adds
	atCalls
	atCall
	atFunction
	atDelta // a string, or an object
	atBlocks
	atBlock
	atItems // the output of the responses API
	atItem
	atEnvelope // an event has the whole answer in it
	atUsage
	atInputDetails
	atOutputDetails
	atRequest // the root of a request
	atTurns
	atTurn
	atParts
	atPart
	atSource
	atTools
	atFormat // of the answer
	atFormats
	atGuides        // vLLM's structured outputs
	atStreamOptions // what else a stream has
	atImage         // an object, or a URL
	atMedia         // the same of sound, films and files

	// Short strings.
	atType
	atRPC // the version of JSON-RPC
	atModel
	atPartType
	atFormatType
	atSourceType

	// Numbers and literals.
	atStream
	atIncludeUsage
	atMaxOutput
	atTimes
	atPrompt // counts of a usage from here on
	atInput
	atOutput
	atTotal
	atCached
	atCacheRead
	atCacheWrite
	atReasoning
	places
)

// tracked: an object or array here is looked into, any other is skipped whole.
func (p place) tracked() bool { return p >= atAnswer && p <= atMedia }

// wantsString: a string here is a value, not text.
func (p place) wantsString() bool { return p >= atImage && p <= atSourceType }

// wantsScalar: a number or literal here is a value.
func (p place) wantsScalar() bool { return p >= atStream }

// element is the place of the elements of an array at p.
func (p place) element() place {
	switch p {
	case atChoices:
		return atChoice
	case atCalls:
		return atCall
	case atBlocks:
		return atBlock
	case atItems:
		return atItem
	case atTurns:
		return atTurn
	case atParts:
		return atPart
	case atTools:
		return atTool
	case atRequest, atTurn, atPart, atSource, atFormat, atFormats, atGuides, atStreamOptions, atImage, atMedia:
		return atBody
	default:
		return nowhere
	}
}

// member is the place of a member of an object at p.
func (p place) member(name []byte) place {
	switch p {
	case atAnswer:
		return inAnswer(name)
	case atEnvelope:
		return only(name, "usage", atUsage)
	case atUsage:
		return inUsage(name)
	case atInputDetails:
		return only(name, "cached_tokens", atCached)
	case atOutputDetails:
		return only(name, "reasoning_tokens", atReasoning)
	case atRequest:
		return inRequest(name)
	case atTurns, atTurn, atParts, atPart:
		return inPart(name)
	case atSource:
		return inSource(name)
	case atImage, atMedia:
		return inMedia(p, name)
	case atTools, atFormat, atFormats, atGuides, atStreamOptions:
		return inOption(p, name)
	default:
		return inReply(p, name)
	}
}

func only(name []byte, known string, p place) place {
	if string(name) == known {
		return p
	}
	return nowhere
}
