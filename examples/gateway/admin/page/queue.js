// The queue: batches, what waits, and dead letters.

import { $, button, list, make, put, rows } from "./dom.js";
import { since, span } from "./format.js";

// tenant is its name: that of a caller without one is made of two, with a sign between.
const tenant = (name) => name.replace(/[\u0000-\u001f]+/g, " / ");

const states = {
  validating: "◌ validating", in_progress: "◐ in progress", finalizing: "◐ finalizing", completed: "✓ completed",
  failed: "✕ failed", expired: "✕ expired", cancelling: "◌ cancelling", cancelled: "– cancelled",
};
const looks = { completed: "good", failed: "bad", expired: "bad" };

function progress(td, b) {
  const { total, completed, failed } = b.request_counts;
  if (!td.firstChild) {
    const bar = make("span", "bar");
    bar.setAttribute("role", "progressbar");
    bar.setAttribute("aria-label", `requests of ${b.id} that are done`);
    bar.append(make("i"), make("i"));
    td.append(bar, make("span"));
  }
  const [bar, text] = td.children;
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", String(total));
  bar.setAttribute("aria-valuenow", String(completed + failed));
  bar.children[0].style.width = `${(100 * completed) / Math.max(1, total)}%`;
  bar.children[1].style.width = `${(100 * failed) / Math.max(1, total)}%`;
  put(text, `${completed + failed} of ${total}` + (failed ? `, ${failed} failed` : ""));
}

function batches(all) {
  rows($("batches"), all, (b) => b.id, [
    ["mono", (td, b) => put(td, b.id.slice(0, 6) + "…" + b.id.slice(-8), `${b.id}\ntenant ${tenant(b.tenant)}`)],
    ["", (td, b) => { put(td, states[b.status] ?? b.status); td.className = looks[b.status] ?? ""; }],
    ["progress", progress],
    ["opt clamp", (td, b) => put(td, b.model || "several", `${b.endpoint} ${b.model ?? ""}`)],
    ["n", (td, b) => put(td, span(since(b.created_at)))],
  ]);
}

function letters(all) {
  rows($("dead"), all, (l) => l.id, [
    ["clamp", (td, l) => put(td, `${l.kind} ${l.of}`, `${l.of}\ntenant ${tenant(l.tenant)}`)],
    ["wrap", (td, l) => put(td, l.reason)],
    ["n opt", (td, l) => put(td, l.attempts)],
    ["n opt", (td, l) => put(td, span(since(l.created_at)))],
    ["", (td, l) => {
      if (td.firstChild) return;
      const both = make("div", "buttons"), url = `queue/dead/${encodeURIComponent(l.id)}`;
      both.append(button("Replay", "POST", `${url}/replay`), button("Delete", "DELETE", url, true));
      td.append(both);
    }],
  ]);
}

export function queue(q) {
  $("batches").hidden = $("dead").hidden = !q;
  if (!q) return;
  put($("queue-state"), q.connected ? `${q.running} of ${q.workers} workers at work, ${Math.max(0, q.tasks - q.running)} requests wait` : "✕ its store does not respond");
  put($("dead-count"), q.dead_letters > q.dead.length && q.dead.length ? `${q.dead.length} of ${q.dead_letters}` : q.dead_letters || "");
  batches(q.batches);
  letters(q.dead);
  list($("lanes"), q.lanes.slice(0, 20), (l) => `${l.priority} ${l.tenant}`, () => make("li"), (li, l) => put(li, `${tenant(l.tenant)} · ${l.priority}: ${l.tasks}`));
}
