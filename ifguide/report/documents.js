"use strict";
// The documents of a page: searched, filtered, sorted, and shown a leaf at a time.
(() => {
  const find = id => document.getElementById(id);
  const list = find("documents");
  if (!list) return;
  const LEAF = Number(list.dataset.atOnce);
  const all = [...list.children].map((item, number) => ({ ...item.dataset, item, number }));
  const readout = find("readout");
  let order = all; // what the controls leave, as they sort it
  let first = 0; // place in it of the first document of the leaf
  let now = null; // the token that is read out

  // what a document says, whether or not it is elements yet

  const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&#34;": '"', "&#39;": "'", "&quot;": '"', "&nbsp;": "\u00a0" };
  const TOKEN = / title="([^ "]+) · rank ([\d,]+)"/g;
  const owners = [], scores = [], ranks = []; // of every token that has a score
  const indexed = index();

  function source({ item }) {
    const closed = item.querySelector("noscript");
    return closed ? closed.textContent : item.innerHTML;
  }

  function open({ item }) {
    const closed = item.querySelector("noscript");
    if (closed) item.innerHTML = closed.textContent;
  }

  // in short slices, so that nothing ever waits for it
  async function index() {
    let until = performance.now();
    for (const one of all) {
      if (performance.now() > until) {
        await new Promise(done => setTimeout(done));
        until = performance.now() + 6;
      }
      const html = source(one);
      one.begins = owners.length;
      for (const [, score, rank] of html.matchAll(TOKEN)) {
        owners.push(one.number);
        scores.push(Number(score));
        ranks.push(Number(rank.replaceAll(",", "")));
      }
      const text = html.replace(/<[^>]*>/g, "").replace(/&[#\w]+;/g, entity => ENTITIES[entity] ?? entity);
      one.text = text.toLowerCase();
    }
  }

  // which documents, in which order

  const value = id => find(id)?.value.trim() ?? "";
  const fits = (one, word) => (word[0] === "!" ? !(one[word.slice(1)] > 0) : one[word] > 0);
  const compared = (a, b) => a - b || String(a).localeCompare(String(b));

  async function arrange() {
    if (value("search")) await indexed;
    const wanted = value("search").toLowerCase(), of = value("source");
    const words = value("only").split(" ").filter(Boolean);
    const [from, to] = [Number(value("from")) || 1, Number(value("to")) || Infinity];
    const key = value("sort").replace("-", ""), way = value("sort")[0] === "-" ? -1 : 1;
    order = all.filter(one => (!of || one.source === of) && one.rank >= from && one.rank <= to
      && words.every(word => fits(one, word)) && (!wanted || one.text.includes(wanted)));
    order.sort((a, b) => way * compared(a[key], b[key]) || a.number - b.number);
    show(0);
  }

  function show(place) {
    first = place;
    const shown = order.slice(first, first + LEAF);
    shown.forEach(open);
    list.classList.remove("whole");
    list.replaceChildren(...shown.map(one => one.item));
    const amount = count => count.toLocaleString("en");
    const few = order.length < all.length ? ` (${amount(all.length)} in all)` : "";
    const range = shown.length ? `${amount(first + 1)}–${amount(first + shown.length)} of ` : "";
    find("count").textContent = `${range}${amount(order.length)} documents${few}`;
    find("back").disabled = first === 0;
    find("on").disabled = first + LEAF >= order.length;
  }

  function turn(way) {
    const place = first + way * LEAF;
    if (place < 0 || place >= order.length) return;
    show(place);
    list.scrollIntoView();
  }

  // tokens

  function read(token) {
    now?.classList.remove("now");
    now = token;
    if (!token) { readout.textContent = ""; return; }
    token.classList.add("now");
    const total = Number(token.closest("[data-total]").dataset.total).toLocaleString("en");
    const parts = [`“${token.textContent.trim()}”`, `score ${token.title} of ${total}`];
    if (token.classList.contains("s")) parts.push("selected");
    if (token.classList.contains("m")) parts.push("marked by people");
    readout.textContent = parts.join(" · ");
  }

  const tokensOf = element => [...element.querySelectorAll("i[title]")];

  function walk(card, step) {
    const tokens = tokensOf(card), at = tokens.indexOf(now), last = tokens.length - 1;
    read(tokens[at < 0 ? (step > 0 ? 0 : last) : Math.min(Math.max(at + step, 0), last)]);
  }

  // the number of the token that is read out, or -1
  function current() {
    const item = now?.closest("li"), one = all.find(other => other.item === item);
    return one ? one.begins + tokensOf(item).indexOf(now) : -1;
  }

  // the first token, among the documents that are left, in the order of some comparison
  async function jump(wanted, before) {
    await indexed;
    const left = new Uint8Array(all.length);
    for (const one of order) left[one.number] = 1;
    const from = current();
    let best = -1;
    for (let i = 0; i < owners.length; i++) {
      if (left[owners[i]] && wanted(i, from) && (best < 0 || before(i, best))) best = i;
    }
    if (best < 0) return;
    const one = all[owners[best]];
    show(Math.floor(order.indexOf(one) / LEAF) * LEAF);
    read(tokensOf(one.item)[best - one.begins]);
    list.classList.add("whole"); // or heights out of sight are guessed, and the token is missed
    now.scrollIntoView({ block: "center" });
  }

  const above = (a, b) => (ranks[a] - ranks[b] || a - b) < 0;
  const higher = () => jump((i, from) => from < 0 || above(i, from), (a, b) => above(b, a));
  const lower = () => jump((i, from) => from < 0 || above(from, i), above);

  function nearest() {
    const text = value("score"), score = text === "" ? Infinity : Number(text);
    const off = i => Math.abs(scores[i] - score);
    if (score === Infinity) jump(() => true, above);
    else jump(() => true, (a, b) => off(a) < off(b) || (off(a) === off(b) && above(a, b)));
  }

  // keys

  function step(way) {
    const card = document.activeElement.closest("article");
    const place = card ? order.findIndex(one => one.item.contains(card)) + way : first;
    if (place < 0 || place >= order.length) return;
    if (place < first || place >= first + LEAF) show(Math.floor(place / LEAF) * LEAF);
    const next = order[place].item.querySelector("article");
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "center" });
  }

  const KEYS = {
    "/": () => find("search").focus(), j: () => step(1), k: () => step(-1),
    "[": () => turn(-1), "]": () => turn(1),
    ...(find("jump") ? { n: lower, p: higher } : {}),
  };

  function point(event) {
    const token = event.target.closest?.("i[title]");
    if (token && token !== now) read(token);
  }

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { read(null); return; }
    if (event.target.closest("input, select, textarea")) return;
    const card = event.target.closest("article") ?? now?.closest("article");
    const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const act = find("letters").checked ? KEYS[event.key] : undefined;
    if (way && card) walk(card, way);
    else if (act) act();
    else return;
    event.preventDefault();
  }

  find("tools").hidden = false;
  find("find").addEventListener("submit", event => event.preventDefault());
  find("find").addEventListener("input", arrange);
  find("jump")?.addEventListener("submit", event => { event.preventDefault(); nearest(); });
  find("higher")?.addEventListener("click", higher);
  find("lower")?.addEventListener("click", lower);
  find("back").addEventListener("click", () => turn(-1));
  find("on").addEventListener("click", () => turn(1));
  // not "pointerover", which scrolling brings about as well
  for (const kind of ["pointermove", "pointerdown"]) document.addEventListener(kind, point);
  document.addEventListener("keydown", press);
  show(0);
})();
