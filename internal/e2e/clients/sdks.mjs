// Calls a gateway with the SDKs for JavaScript. It reads scenes as JSON and prints the
// outcome of each with each SDK.
//
//   TOKEN=… node sdks.mjs <scenes.json
import { readFileSync } from "node:fs";
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import { generateText, jsonSchema, streamText, tool } from "ai";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

const token = process.env.TOKEN;
const messages = [{ role: "user", content: "hi" }];
const blank = () => ({ text: "", finish: "", tool: "", usage: 0, failed: "", error: null });

// fault is an error as the SDK raised it. Some raise error events of a stream unchanged.
const fault = (e) => {
  const body = e?.error?.error ?? e?.error ?? e?.data?.error ?? e?.data?.response?.error ?? (e?.data?.type && e.data) ?? e ?? {};
  const text = [e?.message, e?.responseBody, JSON.stringify(body)].join(" ");
  return {
    class: e?.constructor?.name ?? typeof e,
    status: e?.status ?? e?.statusCode ?? 0,
    code: String(e?.code ?? body.code ?? body.type ?? /"code":\s*"([^"]*)"/.exec(text)?.[1] ?? /"type":\s*"(\w+_error)"/.exec(text)?.[1] ?? ""),
    message: text,
  };
};

const openai = async (s, r) => {
  const client = new OpenAI({ baseURL: s.Base, apiKey: token, maxRetries: 0 });
  const ask = { model: s.Model, messages, ...(s.Usage && { stream_options: { include_usage: true } }), ...s.Extra };
  if (!s.Stream) {
    const res = await client.chat.completions.create(ask);
    Object.assign(r, { text: res.choices[0].message.content, finish: res.choices[0].finish_reason, usage: res.usage.total_tokens });
    return;
  }
  for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) {
    const choice = chunk.choices[0];
    r.text += choice?.delta?.content ?? "";
    for (const call of choice?.delta?.tool_calls ?? []) r.tool += (call.function.name ?? "") + (call.function.arguments ?? "");
    r.finish = choice?.finish_reason ?? r.finish;
    r.usage = chunk.usage?.total_tokens ?? r.usage;
  }
};

const openaiResponses = async (s, r) => {
  const client = new OpenAI({ baseURL: s.Base, apiKey: token, maxRetries: 0 });
  const ask = { model: s.Model, input: "hi", ...s.Extra };
  if (!s.Stream) {
    const res = await client.responses.create(ask);
    Object.assign(r, { text: res.output_text, finish: res.status, usage: res.usage.total_tokens });
    return;
  }
  for await (const e of await client.responses.create({ ...ask, stream: true })) {
    if (e.type === "response.output_text.delta") r.text += e.delta;
    if (e.type === "response.output_item.done" && e.item.type === "function_call") r.tool += e.item.name + e.item.arguments;
    if (e.type === "response.completed") Object.assign(r, { finish: e.response.status, usage: e.response.usage.total_tokens });
    if (e.type === "response.failed") {
      r.failed = e.response.error.code;
      r.error ??= fault(e.response.error);
    }
  }
};

const anthropic = async (s, r) => {
  const client = new Anthropic({ baseURL: s.Base.replace(/\/v1$/, ""), apiKey: token, maxRetries: 0 });
  const ask = { model: s.Model, max_tokens: 50, messages, ...s.Extra };
  const stream = s.Stream && client.messages.stream(ask).on("text", (text) => { r.text += text; });
  const res = await (stream ? stream.finalMessage() : client.messages.create(ask));
  if (!stream) r.text = res.content[0].text;
  for (const block of res.content) if (block.type === "tool_use") r.tool += block.name + JSON.stringify(block.input);
  Object.assign(r, { finish: res.stop_reason, usage: res.usage.input_tokens + res.usage.output_tokens });
};

const google = async (s, r) => {
  const client = new GoogleGenAI({ apiKey: token, httpOptions: { baseUrl: s.Base } });
  for await (const part of await client.models.generateContentStream({ model: s.Model, contents: "hi" })) {
    r.text += part.text ?? "";
    r.finish = part.candidates?.[0]?.finishReason ?? r.finish;
    r.usage = part.usageMetadata?.totalTokenCount ?? r.usage;
  }
};

// vercel calls one of the providers of Vercel's AI SDK.
const vercel = (model) => async (s, r) => {
  const tools = s.Extra?.tools && { add: tool({ inputSchema: jsonSchema({ type: "object", properties: {} }) }) };
  const ask = { model: model(s), prompt: "hi", maxRetries: 0, maxOutputTokens: 50, ...(tools && { tools }) };
  if (!s.Stream) {
    const res = await generateText(ask);
    Object.assign(r, { text: res.text, finish: res.finishReason, usage: res.usage.totalTokens });
    return;
  }
  for await (const part of streamText({ ...ask, onError: () => {} }).stream) {
    if (part.type === "text-delta") r.text += part.text;
    if (part.type === "tool-call") r.tool += part.toolName + JSON.stringify(part.input);
    if (part.type === "finish") Object.assign(r, { finish: part.finishReason, usage: part.totalUsage.totalTokens ?? 0 });
    if (part.type === "error") r.error ??= fault(part.error);
  }
};

const clients = {
  openai: { chat: openai, responses: openaiResponses },
  anthropic: { messages: anthropic },
  google: { gemini: google },
  vercel: {
    chat: vercel((s) => createOpenAICompatible({ name: "gateway", baseURL: s.Base, apiKey: token, includeUsage: s.Usage })(s.Model)),
    responses: vercel((s) => createOpenAI({ baseURL: s.Base, apiKey: token })(s.Model)),
    messages: vercel((s) => createAnthropic({ baseURL: s.Base, apiKey: token })(s.Model)),
  },
};

const results = {};
const scenes = JSON.parse(readFileSync(0, "utf8"));
await Promise.all(Object.entries(clients).flatMap(([name, apis]) => scenes.filter((s) => apis[s.API]).map(async (s) => {
  const r = blank();
  await apis[s.API](s, r).catch((e) => { r.error ??= fault(e); });
  (results[name] ??= {})[s.Name] = r;
})));
console.log(JSON.stringify(results));
process.exit(0);
