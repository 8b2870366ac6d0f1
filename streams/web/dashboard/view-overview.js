// What flows, what waits, what is refused, and whether all parts answer: for a wall.

import { h, panel, say, table } from "./dom.js";
import { clock, duration, number } from "./format.js";
import { plot } from "./plots.js";
import { store } from "./stream.js";

const MEAN_OF_S = 5;
const UNWORKED_S = 15;

// The mean of the last seconds: single ones flicker.
export function lately(name) {
  const column = (store.columns[name] ?? []).slice(-MEAN_OF_S).filter((value) => value !== null);
  return column.length ? column.reduce((sum, value) => sum + value, 0) / column.length : null;
}

export function summed(name, span) {
  const at = store.columns.at;
  const column = store.columns[name] ?? [];
  const since = at[at.length - 1] - span;
  let sum = 0;
  for (let index = column.length - 1; index > 0 && at[index] > since; index -= 1) {
    sum += (column[index] ?? 0) * Math.min(2, at[index] - at[index - 1]);
  }
  return Math.round(sum);
}

// For how many seconds jobs have waited while none was under way: whoever works the queue looks more often.
function unworkedFor() {
  const { at, queue_waiting: waiting = [], queue_reserved: reserved = [] } = store.columns;
  let index = at.length - 1;
  while (index >= 0 && waiting[index] > 0 && reserved[index] === 0) index -= 1;
  return index === at.length - 1 ? 0 : at[at.length - 1] - at[index + 1];
}

function queueState(queue) {
  if (!queue) return ["not known", "down"];
  const unworked = unworkedFor();
  if (unworked >= UNWORKED_S) return [`nobody works it for ${duration(unworked)}`, "down"];
  return [`${number(queue.reserved)} under way, ${number(queue.delayed)} delayed`, ""];
}

function tile(title, unit) {
  const value = h("span", { class: "value" }, "–");
  const more = h("span", { class: "more" });
  const element = h("div", { class: "tile" }, h("span", { class: "title" }, title), h("span", { class: "figure" }, value, h("span", { class: "unit" }, unit)), more);
  return { element, set: (shown, detail = "", state = "") => { say(value, shown); say(more, detail); element.dataset.state = state; } };
}

function partChips() {
  const element = h("ul", { class: "parts", "aria-label": "Parts" });
  const chips = new Map();
  return {
    element,
    update(parts, now) {
      for (const [name, part] of Object.entries(parts)) {
        if (!chips.has(name)) {
          const state = h("span", { class: "state" });
          const chip = h("li", { class: "part", "data-part": name }, h("span", { class: "dot", "aria-hidden": "true" }), h("span", { class: "name" }, name), state);
          chips.set(name, { chip, state });
          element.append(chip);
        }
        const { chip, state } = chips.get(name);
        chip.dataset.state = part.up ? "up" : "down";
        say(state, `${part.up ? "up" : "down"} ${part.since ? duration(now - part.since) : ""}`);
        chip.title = part.detail || "";
      }
      for (const [name, { chip }] of chips) {
        if (!(name in parts)) {
          chip.remove();
          chips.delete(name);
        }
      }
    },
  };
}

export function overview() {
  const tiles = {
    received: tile("Received", "/s"),
    pushed: tile("Handed off", "/s"),
    rejected: tile("Rejected", "/s"),
    lag: tile("Behind", "records"),
    queue: tile("Jobs waiting", ""),
    workers: tile("Workers", ""),
  };
  const chips = partChips();
  const plots = [
    plot("Messages a second", [
      { name: "received", label: "received", colour: "--c1", fill: true },
      { name: "pushed", label: "handed off", colour: "--c2" },
    ]),
    plot("From arrival to the job", [
      { name: "latency_p50", label: "median", colour: "--c2" },
      { name: "latency_p95", label: "95 %", colour: "--c3" },
      { name: "latency_p99", label: "99 %", colour: "--c4" },
    ], { unit: "duration", highest: true, note: "Nothing has been handed off in this time. The latency shows as soon as a message goes through." }),
    plot("Refused and duplicates a second", [
      { name: "rejected", label: "rejected", colour: "--c4", fill: true },
      { name: "duplicate", label: "duplicates", colour: "--c3" },
    ]),
    plot("Records behind", [
      { name: "lag_raw", label: "refine", colour: "--c1", fill: true },
      { name: "lag_unique", label: "handoff", colour: "--c2" },
    ], { highest: true, note: "How far behind is not known while Kafka is away, or before the worker has its partitions." }),
    plot("Jobs in the queue", [
      { name: "queue_waiting", label: "waiting", colour: "--c1", fill: true },
      { name: "queue_reserved", label: "under way", colour: "--c2" },
    ], { highest: true, note: "The queue cannot be counted: Redis is away, or its user may not ask (LLEN, ZCARD)." }),
  ];
  const reasons = table([
    { title: "Reason", fill: (cell, row) => link(cell, `#/rejected?reason=${row.reason}`, row.reason) },
    { title: "Count", class: "number", cell: (row) => number(row.count) },
    { title: "Last example", class: "clip", fill: (cell, row) => { say(cell, row.example); cell.title = row.example; } },
  ], { caption: "Rejections by reason", empty: "Nothing was rejected in this time." });
  const busiest = table([
    { title: "Tenant", class: "mono", fill: (cell, row) => link(cell, `#/tenants`, row.id) },
    { title: "Messages/s", class: "number", cell: (row) => number(row.per_s) },
  ], { caption: "Busiest tenants", empty: "No tenant sends yet. Publish to metrics/{tenant}/{agent}/{metric}, or try: metric-streams simulate." });
  const events = table([
    { title: "Time", class: "number left", cell: (mark) => clock(mark.at) },
    { title: "What happened", class: "wide", fill: (cell, mark) => { cell.dataset.kind = mark.kind; say(cell, mark.text); } },
  ], { caption: "Marks", empty: "Nothing happened in this time." });

  const element = h(
    "div",
    { class: "overview" },
    h("div", { class: "tiles" }, Object.values(tiles).map((each) => each.element)),
    chips.element,
    h("div", { class: "plots" }, plots.map((each) => each.element), panel("Marks", events.element)),
    h("div", { class: "tables" }, panel("Rejections by reason", reasons.element), panel("Busiest tenants", busiest.element)),
  );

  function update(now, span) {
    const figure = now.figures;
    const rejectedRate = lately("rejected");
    tiles.received.set(number(lately("received")), `${number(summed("received", span))} in ${duration(span)}`);
    tiles.pushed.set(number(lately("pushed")), `${number(lately("jobs"))} jobs/s`);
    tiles.rejected.set(number(rejectedRate), `${number(summed("rejected", span))} in ${duration(span)}`, rejectedRate > 0 ? "waiting" : "");
    const behind = figure.lag_raw === undefined ? null : figure.lag_raw + figure.lag_unique;
    tiles.lag.set(number(behind), behind === null ? "not known" : behind > 0 && figure.behind_s > 0 ? `oldest ${duration(figure.behind_s)}` : `refine ${number(figure.lag_raw)}, handoff ${number(figure.lag_unique)}`, behind === null ? "down" : "");
    const queue = now.queue;
    tiles.queue.set(number(queue?.waiting), ...queueState(queue));
    const fresh = now.workers.filter((worker) => worker.silent_s < 5);
    const leader = fresh.find((worker) => worker.leads);
    tiles.workers.set(number(fresh.length), leader ? `${leader.id} carries MQTT` : "nobody carries MQTT", leader ? "" : "down");
    chips.update(now.parts, now.at);
    for (const each of plots) each.update(span);
    reasons.update(byReason(now, span), (row) => row.reason);
    busiest.update(busy(now.workers, "tenants").slice(0, 10), (row) => row.id);
    const oldest = now.at - span;
    events.update(marksOf(now).filter((mark) => mark.at > oldest).slice(0, 12), (mark) => `${mark.at} ${mark.text}`);
  }

  return { title: "Overview", element, update, destroy: () => plots.forEach((each) => each.destroy()) };
}

export function link(cell, href, text) {
  const there = cell.firstElementChild;
  if (there?.tagName === "A") {
    say(there, text);
    if (there.getAttribute("href") !== href) there.setAttribute("href", href);
  } else cell.replaceChildren(h("a", { href }, text));
}

function byReason(now, span) {
  const names = Object.keys(store.columns).filter((name) => name.startsWith("rejected:"));
  const examples = {};
  for (const worker of now.workers) {
    for (const [reason, list] of Object.entries(worker.examples ?? {})) {
      if (list.length && !(examples[reason]?.at > list[0].at)) examples[reason] = list[0];
    }
  }
  return names
    .map((name) => ({ reason: name.slice("rejected:".length), count: summed(name, span) }))
    .filter((row) => row.count > 0)
    .sort((a, b) => b.count - a.count)
    .map((row) => ({ ...row, example: examples[row.reason] ? `${examples[row.reason].detail} · ${examples[row.reason].topic}` : "" }));
}

export function busy(workers, kind) {
  const byId = new Map();
  for (const worker of workers) {
    if (worker.silent_s >= 5) continue;
    for (const each of worker[kind] ?? []) {
      const sum = byId.get(each.id) ?? { id: each.id, per_s: 0, total: 0, last: 0 };
      sum.per_s += each.per_s;
      sum.total += each.total;
      sum.last = Math.max(sum.last, each.last);
      byId.set(each.id, sum);
    }
  }
  return [...byId.values()].sort((a, b) => b.per_s - a.per_s);
}

// This worker's marks, and the starts of the others.
function marksOf(now) {
  const others = now.workers.slice(1).map((worker) => ({ at: worker.started_at, kind: "start", text: `${worker.id} started` }));
  return [...now.marks, ...others].sort((a, b) => b.at - a.at);
}

