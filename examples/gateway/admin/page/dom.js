// Small helpers. Whatever comes from data is put in as text, never as HTML: clients
// choose names.

export const $ = (id) => document.getElementById(id);

// make makes an element with a class and a text.
export function make(tag, cls = "", text = "") {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  if (text) e.textContent = text;
  return e;
}

// put changes a text only when it is another one, so that selections stay.
export function put(e, text, title) {
  text = String(text);
  if (e.textContent !== text) e.textContent = text;
  if (title !== undefined && e.title !== title) e.title = title;
}

// list shows items in a parent, each in an element of its own, which stays while the item
// does: what is being clicked is not replaced.
export function list(parent, items, key, create, update) {
  const old = new Map([...parent.children].map((e) => [e.dataset.key, e]));
  items.forEach((item, i) => {
    const k = String(key(item));
    let e = old.get(k);
    if (!e) {
      e = create(item);
      e.dataset.key = k;
    }
    old.delete(k);
    if (parent.children[i] !== e) parent.insertBefore(e, parent.children[i] ?? null);
    update(e, item);
  });
  old.forEach((e) => e.remove());
}

// rows is a list of a table. Columns are [class, show], and show takes the cell and the
// item.
export function rows(section, items, key, columns) {
  const body = section.querySelector("tbody");
  if (!items.length) {
    list(body, [null], () => "none", () => {
      const tr = make("tr"), td = make("td", "none", body.dataset.empty);
      td.colSpan = columns.length;
      tr.append(td);
      return tr;
    }, () => {});
    return;
  }
  list(body, items, (item) => "of " + key(item), () => {
    const tr = make("tr");
    tr.append(...columns.map(([cls]) => make("td", cls)));
    return tr;
  }, (tr, item) => columns.forEach(([, show], i) => show(tr.children[i], item)));
}

// button does something by the port's own API. One that is not easily undone asks to be
// pressed twice.
export function button(label, method, url, careful) {
  const b = make("button", "", label);
  b.type = "button";
  let timer;
  const calm = () => {
    delete b.dataset.sure;
    b.textContent = label;
  };
  b.addEventListener("click", async () => {
    clearTimeout(timer);
    if (careful && !b.dataset.sure) {
      b.dataset.sure = "?";
      b.textContent = label + "?";
      timer = setTimeout(calm, 4000);
      return;
    }
    calm();
    b.dataset.busy = "1";
    b.disabled = true;
    await act(label, method, url);
    delete b.dataset.busy;
    b.disabled = false;
  });
  return b;
}

// enable leaves a button alone that is at work.
export function enable(b, yes) {
  if (!b.dataset.busy) b.disabled = !yes;
}

let silence;
export function say(text) {
  put($("said"), text);
  clearTimeout(silence);
  silence = setTimeout(() => put($("said"), ""), 5000);
}

async function act(label, method, url) {
  try {
    const res = await fetch(url, { method });
    if (res.ok) return say(`${label}: done`);
    const body = await res.json().catch(() => ({}));
    say(`${label}: ${res.status} ${body.detail ?? body.error?.message ?? res.statusText}`);
  } catch (e) {
    say(`${label}: ${e.message}`);
  }
}
