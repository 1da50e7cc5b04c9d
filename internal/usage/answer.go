package usage

func inAnswer(name []byte) place {
	switch string(name) {
	case "choices":
		return atChoices
	case "usage":
		return atUsage
	case "message", "response":
		return atEnvelope
	case "delta":
		return atDelta
	case "content":
		return atBlocks
	case "content_block":
		return atBlock
	case "output":
		return atItems
	case "type":
		return atType
	case "jsonrpc":
		return atRPC
	case "error":
		return atFailure
	default:
		return nowhere
	}
}

func inUsage(name []byte) place {
	switch string(name) {
	case "prompt_tokens":
		return atPrompt
	case "input_tokens":
		return atInput
	case "completion_tokens", "output_tokens":
		return atOutput
	case "total_tokens":
		return atTotal
	case "prompt_tokens_details", "input_tokens_details":
		return atInputDetails
	case "completion_tokens_details", "output_tokens_details":
		return atOutputDetails
	case "cache_read_input_tokens":
		return atCacheRead
	case "cache_creation_input_tokens":
		return atCacheWrite
	case "prompt_cache_hit_tokens": // DeepSeek
		return atCached
	default:
		return nowhere
	}
}

// inReply finds the text that the model wrote.
func inReply(p place, name []byte) place {
	switch p {
	case atChoice:
		return inChoice(name)
	case atReply:
		return inMessage(name)
	case atCall:
		if string(name) == "custom" {
			return atFunction
		}
		return only(name, "function", atFunction)
	case atItem:
		return inItem(name)
	case atFunction, atBlock, atDelta:
		return inBlock(name)
	default:
		return nowhere
	}
}

func inChoice(name []byte) place {
	switch string(name) {
	case "delta", "message":
		return atReply
	case "text":
		return atContent
	default:
		return nowhere
	}
}

func inMessage(name []byte) place {
	switch string(name) {
	case "content":
		return atBlocks
	case "reasoning_content", "reasoning", "refusal":
		return atContent
	case "tool_calls":
		return atCalls
	case "function_call":
		return atFunction
	default:
		return nowhere
	}
}

func inBlock(name []byte) place {
	switch string(name) {
	case "text", "thinking", "refusal", "partial_json", "name", "arguments", "input":
		return atContent
	default:
		return nowhere
	}
}

func inItem(name []byte) place {
	switch string(name) {
	case "content", "summary":
		return atBlocks
	default:
		return inBlock(name)
	}
}
