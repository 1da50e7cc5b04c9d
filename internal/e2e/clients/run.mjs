// Calls a gateway with common clients, and prints the outcome of each.
//
//   BASE=http://… TOKEN=… node run.mjs
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { generateText, streamText } from "ai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { EventSource } from "eventsource";
import { fetch as undici } from "undici";

const base = process.env.BASE, token = process.env.TOKEN;
const messages = [{ role: "user", content: "hi" }];

// failed returns the error that a client raises.
const failed = async (call) => {
  try {
    return { missed: await call() };
  } catch (e) {
    return { name: e.constructor.name, status: e.status ?? e.statusCode ?? null, code: e.code ?? e.error?.code ?? e.error?.error?.type ?? null };
  }
};

const openai = new OpenAI({ baseURL: base + "/v1", apiKey: token, maxRetries: 0 });
const collect = async (stream) => {
  let text = "", usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  return { text, usage: usage?.total_tokens ?? null };
};

const anthropic = new Anthropic({ baseURL: base, apiKey: token, maxRetries: 0 });
const request = { model: "claude", max_tokens: 50, messages };

const compatible = createOpenAICompatible({ name: "gateway", baseURL: base + "/v1", apiKey: token, includeUsage: true });

// events reads a stream that is cut, and continues with a new connection to its end.
const events = () => new Promise((resolve) => {
  const got = [];
  const source = new EventSource(base + "/v1/events", { fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, Authorization: "Bearer " + token } }) });
  source.onmessage = (e) => got.push(e.lastEventId + ":" + e.data);
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) resolve(got); };
});

const scenes = {
  openai: async () => (await openai.chat.completions.create({ model: "m", messages })).choices[0].message.content,
  openaiStream: async () => collect(await openai.chat.completions.create({ model: "m", messages, stream: true })),
  openaiUsage: async () => collect(await openai.chat.completions.create({ model: "m", messages, stream: true, stream_options: { include_usage: true } })),
  openaiModels: async () => (await openai.models.list()).data.map((m) => m.id),
  openaiUnknown: () => failed(() => openai.chat.completions.create({ model: "nope", messages })),
  openaiToken: () => failed(() => new OpenAI({ baseURL: base + "/v1", apiKey: "wrong", maxRetries: 0 }).chat.completions.create({ model: "m", messages })),
  openaiCut: () => failed(async () => collect(await openai.chat.completions.create({ model: "cut", messages, stream: true }))),
  openaiAbort: async () => {
    const stream = await openai.chat.completions.create({ model: "slow", messages, stream: true });
    for await (const _ of stream) break; // which aborts the request
    return "left";
  },
  anthropic: async () => (await anthropic.messages.create(request)).content[0].text,
  anthropicStream: async () => {
    const message = await anthropic.messages.stream(request).finalMessage();
    return { text: message.content[0].text, tokens: message.usage.output_tokens, stop: message.stop_reason };
  },
  anthropicModels: async () => (await anthropic.models.list()).data.map((m) => m.id),
  anthropicCut: () => failed(async () => (await anthropic.messages.stream({ ...request, model: "claude-cut" }).finalMessage()).content[0].text),
  anthropicUnknown: () => failed(() => anthropic.messages.create({ ...request, model: "nope" })),
  ai: async () => (await generateText({ model: compatible("m"), prompt: "hi", maxRetries: 0 })).text,
  aiStream: async () => {
    const result = streamText({ model: compatible("m"), prompt: "hi", maxRetries: 0 });
    let text = "";
    for await (const part of result.textStream) text += part;
    return { text, tokens: (await result.usage).totalTokens, finish: await result.finishReason };
  },
  aiCut: () => new Promise((resolve) => {
    const result = streamText({ model: compatible("cut"), prompt: "hi", maxRetries: 0, onError: ({ error }) => resolve({ error: String(error?.message ?? error) }) });
    result.consumeStream().then(() => setTimeout(() => resolve({ missed: true }), 1000));
  }),
  events,
  undici: async () => {
    const res = await undici(base + "/v1/chat/completions", {
      method: "POST", headers: { Authorization: "Bearer " + token, "Content-Type": "application/json" },
      body: JSON.stringify({ model: "m", messages, stream: true }),
    });
    const decoder = new TextDecoder();
    let text = "";
    for await (const part of res.body) text += decoder.decode(part, { stream: true });
    return { status: res.status, ended: text.endsWith("data: [DONE]\n\n") };
  },
};

const results = {};
await Promise.all(Object.entries(scenes).map(async ([name, scene]) => {
  results[name] = await scene().catch((e) => ({ unexpected: String(e?.stack ?? e) }));
}));
console.log(JSON.stringify(results));
process.exit(0);
