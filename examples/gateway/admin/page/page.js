// The page: one feed of events, each with all that there is to show.

import { chart } from "./charts.js";
import { $, put, rows } from "./dom.js";
import { clock, figure, ms, span } from "./format.js";
import { queue } from "./queue.js";
import { rollouts } from "./rollouts.js";
import { upstreams } from "./upstreams.js";

const a = { color: "--a", fill: "--a-fill" }, dashed = (color) => ({ color, dash: [4, 3] });
const charts = {
  requests: chart($("chart-requests"), [a, dashed("--bad")], [$("now-requests"), $("now-failures")], figure),
  first: chart($("chart-first"), [{ color: "--a" }, dashed("--b")], [$("now-p50"), $("now-p95")], ms),
  tokens: chart($("chart-tokens"), [a, dashed("--b")], [$("now-output"), $("now-input")], figure),
};

function point(p) {
  const first = (v) => (p.first_token.count ? v : null); // a gap: there was none
  charts.requests.add(p.time, [p.requests, p.failure]);
  charts.first.add(p.time, [first(p.first_token.p50_ms), first(p.first_token.p95_ms)]);
  charts.tokens.add(p.time, [p.output_tokens, p.input_tokens]);
}

function figures(s) {
  if (s.history) {
    Object.values(charts).forEach((c) => c.begin());
    s.history.forEach(point);
  }
  point(s.now);
  Object.values(charts).forEach((c) => c.show());
  put($("inflight"), s.now.inflight);
  put($("streams"), s.groups.reduce((n, g) => n + g.open_streams, 0), s.groups.map((g) => `${g.path}: ${g.open_streams}`).join("\n"));
  put($("waiting"), s.queue ? (s.queue.connected ? Math.max(0, s.queue.tasks - s.queue.running) : "unknown") : "–", s.queue ? "" : "There is no queue in the configuration.");
}

function configuration(c) {
  put($("revision"), c.revision);
  put($("source"), `from ${c.source.split("/").at(-1)}` + (c.reloads ? `, reloaded ${c.reloads} ×` : ""), c.source);
  put($("why"), c.last_error ?? "");
  $("refused").hidden = !c.last_error;
}

const bad = (td, v) => { put(td, figure(v)); td.classList.toggle("bad", v > 0); };

function versions(now) {
  rows($("versions"), now.versions, (v) => v.version, [
    ["mono", (td, v) => put(td, v.version || "none", v.version ? "" : "requests that no version was decided for")],
    ["n", (td, v) => put(td, v.inflight)],
    ["n", (td, v) => put(td, figure(v.requests))],
    ["n", (td, v) => bad(td, v.failure)],
    ["n opt", (td, v) => put(td, figure(v.refused))],
    ["n", (td, v) => put(td, ms(v.first_token.p50_ms))],
    ["n", (td, v) => put(td, ms(v.first_token.p95_ms))],
    ["n", (td, v) => put(td, figure(v.output_tokens))],
    ["n opt", (td, v) => put(td, figure(v.input_tokens))],
  ]);
}

const outcomes = { success: ["✓ ", "good"], failure: ["✕ ", "bad"], refused: ["⊘ ", "warn"], canceled: ["– ", "soft"] };

function requests(all) {
  rows($("requests"), all, (r) => r.start + r.id + r.trace + r.duration_ms, [
    ["", (td, r) => put(td, clock(r.start), r.start)],
    ["", (td, r) => {
      const [mark, cls] = outcomes[r.outcome] ?? ["", ""];
      put(td, `${mark}${r.outcome} ${r.status}`, [r.error, r.reason].filter(Boolean).join(": "));
      td.className = cls;
    }],
    ["opt", (td, r) => put(td, `${r.method} ${r.route}`)],
    ["clamp", (td, r) => put(td, r.model || "–", r.model ?? "")],
    ["mono", (td, r) => put(td, r.version || "–")],
    ["mono opt clamp", (td, r) => put(td, (r.endpoint || "–").replace(/^https?:\/\//, ""), r.attempts > 1 ? `${r.attempts} attempts` : "")],
    ["n", (td, r) => put(td, r.output_tokens || r.input_tokens ? `${r.input_tokens ?? 0} → ${r.output_tokens ?? 0}` : r.cache ? `cache: ${r.cache}` : "–")],
    ["n", (td, r) => put(td, ms(r.first_token_ms))],
    ["n", (td, r) => put(td, ms(r.duration_ms))],
    ["mono opt", (td, r) => put(td, (r.trace || r.id || "–").slice(-12), [r.trace && `trace ${r.trace}`, r.id && `request ${r.id}`].filter(Boolean).join("\n"))],
  ]);
}

function show(s) {
  configuration(s.config);
  figures(s);
  rollouts(s.rollouts);
  versions(s.now);
  upstreams(s.upstreams);
  queue(s.queue);
  requests(s.requests);
}

// The feed. EventSource reconnects by itself, but not after a response that is no feed, nor
// when the connection is silent.
const patience = 5, again = 3; // seconds
let source, latest = 0, ready = true;

function connect() {
  source?.close();
  source = new EventSource("live");
  source.onmessage = (e) => {
    const s = JSON.parse(e.data);
    latest = Date.now() / 1000;
    ready = s.ready;
    show(s);
    state();
  };
  source.onerror = state;
}

function state() {
  const silent = Date.now() / 1000 - latest;
  const broken = latest > 0 && (silent > patience || (ready && source.readyState !== EventSource.OPEN));
  const [name, text] = broken ? ["broken", `○ no news for ${span(silent)} – reconnecting`]
    : !latest ? ["connecting", "◌ connecting"]
    : !ready ? ["ending", "◐ ending: no new requests are taken"]
    : ["live", "● live"];
  $("feed").dataset.state = name;
  put($("feed"), text);
  document.body.toggleAttribute("data-stale", broken);
}

let tried = 0;
setInterval(() => {
  state();
  const now = Date.now() / 1000;
  if (now - Math.max(latest, tried) > patience || (source.readyState === EventSource.CLOSED && now - tried > again)) {
    tried = now;
    connect();
  }
}, 1000);
connect();
