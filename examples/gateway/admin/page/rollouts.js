// Rollouts: how far each is, and what is known of the canary.

import { $, button, enable, list, make, put, rows } from "./dom.js";
import { figure, percent, since, span } from "./format.js";

const states = {
  running: ["▸ running", "good"], paused: ["‖ paused", "warn"], held: ["◌ held: decide", "warn"],
  rolled_back: ["✕ rolled back", "bad"], done: ["✓ done", "good"],
};
// Which button can be pressed when.
const actions = [
  ["Pause", "pause", ["running", "held"]],
  ["Resume", "resume", ["paused", "held"]],
  ["Promote", "promote", ["running", "paused", "held"], true],
  ["Roll back", "rollback", ["running", "paused", "held", "done"], true],
  ["Restart", "restart", ["rolled_back", "done"], true],
];

function create(r) {
  const card = make("article", "rollout"), left = make("div"), right = make("div", "scroll"), bar = make("div", "buttons");
  for (const [label, action, , careful] of actions) {
    const b = button(label, "POST", `rollouts/${encodeURIComponent(r.name)}/${action}`, careful);
    b.dataset.action = action;
    bar.append(b);
  }
  left.append(make("h3"), make("p"), make("ol", "steps"), make("p", "soft"), bar);
  const table = make("table"), head = make("tr");
  head.append(...["check", "stable, bad", "canary, bad", "evidence against the canary", "to go on"].map((t) => make("th", "", t)));
  const thead = make("thead"), tbody = make("tbody");
  tbody.dataset.empty = "Nothing is known yet.";
  thead.append(head);
  table.append(thead, tbody);
  right.append(table);
  card.append(left, right);
  return card;
}

const bad = (n, of) => (of ? `${n} of ${of} (${percent(n / of)})` : "–");

// evidence is a bar on a logarithmic scale, from 1, which says nothing, to the limit.
function evidence(td, c) {
  if (!td.firstChild) {
    const bar = make("span", "bar");
    bar.setAttribute("role", "meter");
    bar.append(make("i"));
    td.append(bar, make("span"));
  }
  const [bar, text] = td.children, least = 1;
  const part = Math.log(Math.max(c.evidence, least) / least) / Math.log(c.limit / least);
  bar.setAttribute("aria-valuenow", String(c.evidence));
  bar.setAttribute("aria-valuemax", String(c.limit));
  bar.title = "on a logarithmic scale; full rolls back";
  bar.firstChild.style.width = `${100 * Math.min(1, part)}%`;
  bar.classList.toggle("over", c.evidence >= c.limit);
  put(text, `${figure(c.evidence)} of ${figure(c.limit)}`);
}

function update(card, r) {
  const [left, right] = card.children, [title, state, steps, why, buttons] = left.children;
  const [text, cls] = states[r.state] ?? [r.state, ""];
  put(title, `${r.model ? r.model + ": " : ""}${r.stable} → ${r.canary}`, `${r.name} in ${r.group}`);
  put(state, `${text}, ${percent(r.share)} of users for ${span(since(r.since))}`);
  state.className = cls;
  steps.dataset.state = r.state;
  list(steps, r.steps.map((share, i) => ({ share, i })), (s) => s.i, () => make("li"), (li, s) => {
    put(li, percent(s.share));
    li.className = s.i < r.step ? "passed" : "";
    if (s.i === r.step) li.setAttribute("aria-current", "step");
    else li.removeAttribute("aria-current");
  });
  put(why, r.reason ?? "");
  for (const b of buttons.children) enable(b, actions.find((a) => a[1] === b.dataset.action)[2].includes(r.state));
  rows(right, r.checks ?? [], (c) => c.name, [
    ["", (td, c) => put(td, c.name)],
    ["", (td, c) => put(td, bad(c.stable_bad, c.stable_keys))],
    ["", (td, c) => put(td, bad(c.canary_bad, c.canary_keys))],
    ["", evidence],
    ["", (td, c) => { put(td, c.ready ? "✓ enough is known" : "… not yet"); td.className = c.ready ? "good" : "soft"; }],
  ]);
}

export function rollouts(all) {
  $("rollouts").hidden = !all?.length;
  list($("rollout-list"), all ?? [], (r) => r.name, create, update);
}
