// Every worker of the group, and each partition that this one holds.

import { h, panel, say, table } from "./dom.js";
import { duration, moment, number } from "./format.js";

function sum(counts) {
  return Object.values(counts ?? {}).reduce((total, count) => total + count, 0);
}

export function workers() {
  let at = 0;
  const all = table([
    { title: "Worker", class: "mono", cell: (row) => row.id },
    { title: "State", fill: (cell, row) => { const [state, text] = stateOf(row); cell.dataset.state = state; say(cell, text); } },
    { title: "MQTT", cell: (row) => (row.leads ? "carries" : "stands by") },
    { title: "Partitions", class: "number", cell: (row) => number(sum(row.partitions)) },
    { title: "Received/s", class: "number", cell: (row) => number(row.rates.received ?? 0) },
    { title: "Handed off/s", class: "number", cell: (row) => number(row.rates.pushed ?? 0) },
    { title: "Rejected/s", class: "number", cell: (row) => number(row.rates.rejected ?? 0) },
    { title: "Behind", class: "number", cell: (row) => (row.lag ? number(sum(row.lag)) : "–") },
    { title: "Up", class: "number", cell: (row) => duration(at - row.started_at) },
    { title: "Version", cell: (row) => row.version },
  ], { caption: "Workers of the group", empty: "No worker has told of itself yet.", rowClass: (row) => (row.silent_s >= 5 ? "gone" : "") });
  const parts = table([
    { title: "Part", cell: (row) => row.name },
    { title: "State", fill: (cell, row) => { cell.dataset.state = row.up ? "up" : "down"; say(cell, row.up ? "up" : "down"); } },
    { title: "Since", class: "number", cell: (row) => (row.since ? moment(row.since) : "–") },
    { title: "What is wrong", class: "wide", cell: (row) => row.detail },
  ], { caption: "Parts, as this worker sees them", empty: "Nothing was asked yet." });
  const held = table([
    { title: "Topic", class: "mono", cell: (row) => row.topic },
    { title: "Partition", class: "number", cell: (row) => row.partition },
    { title: "Position", class: "number", cell: (row) => row.position ?? "not known" },
    { title: "Behind", class: "number", cell: (row) => number(row.lag) },
  ], { caption: "Partitions of this worker", empty: "This worker holds no partition: it joins the group, or there are more workers than partitions." });
  const note = h("p", { class: "quiet" });
  const element = h("div", {}, panel("Workers of the group", note, all.element), h("div", { class: "pair" }, panel("Parts, as this worker sees them", parts.element), panel("Partitions of this worker", held.element)));
  return {
    title: "Workers",
    element,
    update(now) {
      at = now.at;
      say(note, now.exchange.up ? `This page comes from ${now.worker}.` : `This page comes from ${now.worker}. The others are not known since ${moment(now.exchange.since)}: ${now.exchange.detail}`);
      all.update(now.workers, (row) => row.id);
      parts.update(Object.entries(now.parts).map(([name, part]) => ({ name, ...part })), (row) => row.name);
      held.update(now.partitions, (row) => `${row.topic} ${row.partition}`);
    },
  };
}

function stateOf(row) {
  if (row.silent_s >= 5) return ["down", `silent for ${duration(row.silent_s)}`];
  const down = Object.entries(row.parts).filter(([, part]) => !part.up).map(([name]) => name);
  return down.length ? ["down", `without ${down.join(", ")}`] : ["up", "up"];
}
