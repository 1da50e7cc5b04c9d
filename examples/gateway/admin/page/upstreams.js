// Upstreams: every endpoint, with its circuit.

import { $, button, make, put, rows } from "./dom.js";
import { figure, percent, since, span } from "./format.js";

const left = (time) => (time ? -since(time) : 0);

function health(e) {
  if (!e.healthy) return ["✕ unhealthy", "bad"];
  if (e.draining) return ["◐ draining", "warn"];
  if (left(e.ejected_until) > 0) return [`⊘ ejected, ${span(left(e.ejected_until))} left`, "bad"];
  if (left(e.cooling_until) > 0) return [`◐ cooling down for some, ${span(left(e.cooling_until))} left`, "warn"];
  return ["✓ healthy", "good"];
}

const circuits = { closed: ["● closed", "good"], "half-open": ["◐ half-open", "warn"], open: ["○ open", "bad"] };

function circuit(row) {
  const c = row.circuit;
  if (!row.breaker) return ["none", "soft"];
  if (!c) return row.perVersion ? ["not used yet", "soft"] : ["● closed, not used yet", "soft"];
  let [text, cls] = circuits[c.state] ?? [c.state, ""];
  if (c.version) text += ` for ${c.version}`;
  if (c.forced) text += " by hand";
  else if (c.state === "open" && left(c.until) > 0) text += `, ${span(left(c.until))} left`;
  else if (left(c.cooling_until) > 0) text += `, cooling down for ${span(left(c.cooling_until))}`;
  if (c.state === "closed" && c.routes?.length) {
    text += `, but for ${c.routes.length} ${c.routes.length > 1 ? "paths" : "path"}`;
    cls = "warn";
  }
  return [text, cls, c.routes?.join("\n") ?? ""];
}

// hand are the buttons that hold a circuit.
function hand(td, row) {
  if (!row.breaker || (row.perVersion && !row.circuit)) return td.replaceChildren();
  if (!td.firstChild) {
    const url = (state) => `breakers/${encodeURIComponent(row.upstream)}/${state}?endpoint=${encodeURIComponent(row.host)}` +
      (row.circuit?.version ? `&version=${encodeURIComponent(row.circuit.version)}` : "");
    const group = make("div", "group");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", `circuit of ${row.host}`);
    for (const [label, state] of [["Auto", "auto"], ["Closed", "closed"], ["Open", "open"]]) {
      const b = button(label, "POST", url(state), state === "open");
      b.dataset.state = state;
      group.append(b);
    }
    td.append(group);
  }
  const held = row.circuit?.forced ? row.circuit.state : "auto";
  for (const b of td.firstChild.children) b.setAttribute("aria-pressed", String(b.dataset.state === held));
}

export function upstreams(all) {
  const flat = all.flatMap((u) => u.endpoints.flatMap((e) => (e.circuits?.length ? e.circuits : [null]).map((c, i) => (
    { upstream: u.name, breaker: u.breaker, perVersion: u.per_version, host: e.host, endpoint: e, circuit: c, first: i === 0 }))));
  const once = (show) => (td, row) => (row.first ? show(td, row.endpoint, row) : put(td, ""));
  rows($("upstreams"), flat, (r) => JSON.stringify([r.upstream, r.endpoint.name, r.circuit?.version ?? ""]), [
    ["", once((td, _, row) => put(td, row.upstream))],
    ["mono", once((td, e) => put(td, e.host + (e.weight > 1 ? ` ×${e.weight}` : ""), e.url))],
    ["", once((td, e) => { const [text, cls] = health(e); put(td, text); td.className = cls; })],
    ["n opt", once((td, e) => put(td, e.inflight))],
    ["n opt", once((td, e) => put(td, figure(e.requests), String(e.requests)))],
    ["n opt", once((td, e) => { put(td, figure(e.failures), String(e.failures)); })],
    ["n opt", once((td, e) => put(td, percent(e.success)))],
    ["circuit", (td, row) => { const [text, cls, routes] = circuit(row); put(td, text, routes); td.className = "circuit " + cls; }],
    ["", hand],
  ]);
  const hidden = all.reduce((n, u) => n + (u.hidden ?? 0), 0);
  put($("h-upstreams"), "Upstreams" + (hidden ? ` (${hidden} more endpoints are not shown)` : ""));
}
