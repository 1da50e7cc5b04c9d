package e2e_test

import (
	"maps"
	"sync"
)

// rowsKnown are the situations that are known to fail, by reason, as go test names them.
// {a|b} stands for both. Each must fail.
var rowsKnown = map[string][]string{
	"a missing marker is taken for a cut": {
		"TestDialectStreamWithoutMarkerIsWhole/{a_comment_behind_finish_reason|an_unknown_API_with_content_and_a_delta|finish_reason_of_another_spelling}",
		"TestDialectStreamWithoutMarkerIsWhole/{finish_reason_with_the_last_text|finish_reason_without_[DONE]|no_blank_line_behind_the_last_event}",
		"TestDialectStreamWithoutMarkerIsWhole/{stop_reason_behind_a_gateway's_path|stop_reason_without_message_stop|transcript.text.done|two_choices,_both_finished}",
		"TestDialectStreamWithoutMarkerIsWhole/usage_behind_finish_reason",
	},
	"a heartbeat has a blank line, and goes between CR and LF": {
		"TestDialectHeartbeatIsInvisible/{before_the_first_event|behind_a_comment|between_CR_and_LF|between_two_events|lines_end_with_CRLF}",
	},
	"a request that we changed is not repeated as it was": {
		"TestDialectOwnChangeIsRefused/{400_of_OpenAI|400_of_another_kind|400_with_a_param|422_of_FastAPI}",
	},
	"usage that came unasked is taken out, too, or a marker is missing": {
		"TestDialectUsageOfOursIsTakenOut/{in_every_chunk,_and_alone|usage_alone,_then_the_end,_no_marker|usage_in_every_chunk|usage_with_the_last_choice}",
		"TestDialectUsageOfOursIsTakenOut/with_the_last_choice,_and_alone",
	},
	"what comes before content is no sign of life once prefetch is over": {
		"TestDialectSignsOfLife/{comments,_past_the_time_of_prefetch|pings_of_Anthropic}",
	},
	"what was prefetched waits for content, JSON for its end": {
		"TestDialectPassesAtOnceWhenPrefetchIsOver/{a_comment|a_role|half_of_JSON|white_space_before_JSON}",
	},
	"the pace of text is taken for that of tools": {
		"TestDialectPaceOfOnePhase/{a_content_block_that_ended|a_search|a_tool_call_that_has_begun|a_tool_of_Anthropic_that_has_begun|text,_with_tools_in_the_request}",
	},
	"the defaults are below the silences of servers": {
		"TestDialectDefaultLimits/{idle|stall}",
	},
	"each stage has a bound of its own, and a body beyond it is priced by its bytes": {
		"TestDialectLargeBodies/{20_MB_of_a_PDF,_not_routed|20_MB_of_a_PDF,_routed|5.3_MB_with_a_picture,_not_routed|5.3_MB_with_a_picture,_routed}",
		"TestDialectLargeBodies/{6_MB_with_a_picture_of_Anthropic,_not_routed|6_MB_with_a_picture_of_Anthropic,_routed}",
		"TestDialectLargeBodies/{more_than_the_bound,_the_model_is_in_front,_not_routed|more_than_the_bound,_the_model_is_in_front,_routed}",
		"TestDialectLargeBodies/{the_model_behind_the_picture,_not_routed|the_model_behind_the_picture,_routed}",
	},
	"bytes that are no text are priced as text": {
		"TestDialectWhatIsNoTextIsCheap/{a_file_that_is_stored|a_form_that_nobody_knows|countTokens_of_Gemini|count_tokens_of_Anthropic|input_tokens_of_OpenAI}",
		"TestDialectWhatIsNoTextIsCheap/{pictures,_in_snake_case|pictures_of_Gemini|pictures_of_Ollama|pictures_of_Ollama,_two|sound_in_a_form|sound_in_a_form,_priced}",
		"TestDialectWhatIsNoTextIsCheap/tokenize_of_vLLM,_llama.cpp",
	},
	"the model is looked for in JSON bodies only": {
		"TestDialectModelIsFound/{in_a_form,_a_key_for_it|in_a_form,_a_key_for_others|in_a_form,_behind_the_file,_a_key_for_it}",
		"TestDialectModelIsFound/{in_a_form,_behind_the_file,_a_key_for_others|in_a_form,_behind_the_file,_routed|in_a_form,_routed}",
		"TestDialectModelIsFound/{in_the_path_of_Azure's_speech,_a_key_for_it|in_the_path_of_Azure's_speech,_a_key_for_others|in_the_path_of_Azure's_speech,_routed}",
		"TestDialectModelIsFound/{in_the_path_of_Gemini,_a_key_for_it|in_the_path_of_Gemini,_a_key_for_others|in_the_path_of_Gemini,_routed}",
		"TestDialectModelIsFound/{in_the_path_of_Vertex,_a_key_for_it|in_the_path_of_Vertex,_a_key_for_others|in_the_path_of_Vertex,_routed}",
		"TestDialectModelIsFound/{in_the_path_of_an_Azure,_a_key_for_it|in_the_path_of_an_Azure,_a_key_for_others|in_the_path_of_an_Azure,_routed}",
		"TestDialectModelIsFound/{in_the_query,_a_key_for_others|in_the_query,_routed|in_the_query_of_another,_a_key_for_some_is_refused}",
		"TestDialectModelIsFound/nowhere,_of_an_upgrade,_a_key_for_some_is_refused",
	},
	"Content-Encoding of requests is ignored": {
		"TestDialectCompressedRequests/{GZIP,_routed|an_encoding_that_is_not_known,_routed|gzip,_routed|much_more_than_it_looks,_routed|no_gzip,_routed}",
		"TestDialectCompressedRequests/{two_encodings,_one_not_known,_routed|zstd,_routed}",
	},
	"a 429 with Retry-After rests the endpoint for everybody": {
		"TestDialectLimitOfOneIsNobodyElses/{another_key|another_key,_after_many|another_kind_of_key|another_model|another_model,_after_many|the_same_key,_nowhere_else_to_go}",
		"TestDialectLimitOfOneIsNobodyElses/with_another_upstream_the_limited_one_is_left_alone",
	},
	"the reason of the last attempt is thrown away, or opens a circuit": {
		"TestDialectReasonReachesTheClient/{429_of_a_relay,_in_an_event|500_in_an_event|503_in_an_event|a_code_that_nobody_knows|an_error_event_without_JSON}",
		"TestDialectReasonReachesTheClient/{an_error_that_is_a_text|error:_of_an_old_llama.cpp|insufficient_quota,_[DONE]_behind|insufficient_quota,_first_event}",
		"TestDialectReasonReachesTheClient/{insufficient_quota_behind_a_role|overloaded_error_in_an_event|rate_limit_error_in_an_event|response.failed,_rate_limit_exceeded}",
	},
	"a refusal of the credential of the operator goes to the client": {
		"TestDialectWhoseCredentialWasRefused/{401_of_the_operator's,_another_upstream|401_of_the_operator's,_the_only_upstream|402_of_the_operator's,_another_upstream}",
		"TestDialectWhoseCredentialWasRefused/{402_of_the_operator's,_the_only_upstream|403_of_the_operator's,_another_upstream|403_of_the_operator's,_the_only_upstream}",
		"TestDialectWhoseCredentialWasRefused/{404_of_the_operator's,_another_upstream|404_of_the_operator's,_the_only_upstream}",
	},
	"the context error of an upstream leads nowhere": {
		"TestDialectUpstreamsOwnContextError/{400_of_Anthropic|400_of_Gemini|400_of_OpenAI|400_of_llama.cpp|400_of_vLLM|413_of_a_long_prompt|in_response.failed}",
		"TestDialectUpstreamsOwnContextError/in_the_first_event",
	},
	"a stream is cached behind what takes its usage out": {
		"TestDialectCachedUsage/{nobody_asked,_then_one_does|one_said_no,_then_one_asks}",
	},
	"nothing at all is success, or is charged": {
		"TestDialectNothingAtAll/{[DONE]_alone|a_byte_order_mark|blank_lines_for_a_stream|comments_for_a_stream|no_bytes,_no_type|no_bytes_for_a_chat}",
		"TestDialectNothingAtAll/{no_bytes_for_a_message|no_bytes_for_a_stream|white_space_for_a_chat}",
	},
	"the header is not known as a credential": {
		"TestDialectAPIKeyOfAzure/{Api-Key|X-Goog-Api-Key}",
	},
	"the limits of the upstream replace ours in the head": {
		"TestDialectLimitHeadersOfTheUpstream/our_tokens_alone",
	},
	"a response that is compressed unasked is not metered": {
		"TestDialectCompressedUnasked/{JSON|JSON,_the_client_takes_gzip|stream|stream,_the_client_takes_gzip|stream,_the_client_takes_no_gz}",
	},
}

// knownRows are all of these names, with the reason.
var knownRows = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	for reason, patterns := range rowsKnown {
		for _, pattern := range patterns {
			maps.Copy(out, expandAll(reason, pattern))
		}
	}
	return out
})
