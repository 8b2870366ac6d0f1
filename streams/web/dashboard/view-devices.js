// When each device was heard last: those first that have been silent for longest.

import { h, panel, replace, say, table } from "./dom.js";
import { ago, number } from "./format.js";
import { ask } from "./stream.js";

const SILENT = { 0: "all devices", 60: "1 minute", 600: "10 minutes", 3600: "1 hour", 86400: "1 day", 604800: "7 days" };
const USUAL = "600";
const FIELDS = ["silent_s", "tenant", "agent"];
const LIMIT = 200;

export function devices({ go }) {
  let at = Date.now() / 1000;
  let asked = 0;
  let searched = null;
  let found = [];
  const silent = h("select", { id: "devices-silent" }, Object.entries(SILENT).map(([value, label]) => h("option", { value }, label)));
  const tenant = h("input", { id: "devices-tenant", type: "search", placeholder: "1111*", autocomplete: "off", spellcheck: "false" });
  const agent = h("input", { id: "devices-agent", type: "search", placeholder: "edge-*", autocomplete: "off", spellcheck: "false" });
  const inputs = { silent_s: silent, tenant, agent };
  const field = (label, input) => h("div", { class: "field" }, h("label", { for: input.id }, label), input);
  const form = h("form", { class: "search", onsubmit: (event) => { event.preventDefault(); submit(); } },
    field("Agent", agent), field("Tenant", tenant), field("Silent for", silent), h("button", { class: "primary" }, "Search"));
  silent.addEventListener("change", submit);
  const told = h("p", { class: "quiet", role: "status", id: "devices-found" });
  const trouble = h("p", { class: "bad", role: "alert", hidden: true });
  const list = table([
    { title: "Agent", class: "short", fill: (cell, row) => { say(cell, row.agent); cell.title = row.agent; } },
    { title: "Tenant", class: "mono", cell: (row) => row.tenant },
    { title: "Heard last", class: "number", cell: (row) => ago(row.last, at) },
    { title: "Messages", class: "number", cell: (row) => number(row.messages) },
    { title: "Rejected", class: "number", fill: (cell, row) => rejectedShare(cell, row) },
  ], { caption: "Devices", empty: "" });

  function rejectedShare(cell, row) {
    const share = `${Math.round((100 * row.rejected) / Math.max(1, row.messages))} %`;
    if (cell.dataset.share === share) return cell;
    cell.dataset.share = share;
    if (!row.rejected) return replace(cell, share);
    const query = new URLSearchParams({ agent: row.agent, tenant: row.tenant });
    return replace(cell, h("a", { href: `#/rejected?${query}` }, share));
  }

  function submit() {
    const query = new URLSearchParams();
    for (const [name, input] of Object.entries(inputs)) {
      const value = input.value.trim();
      if (value && !(name === "silent_s" && value === USUAL)) query.set(name, value);
    }
    searched = null; // asks again, though nothing else was chosen
    if (location.hash.replace(/^#\/devices\??/, "") === String(query)) arrive(query);
    else go("devices", query);
  }

  function arrive(query) {
    for (const [name, input] of Object.entries(inputs)) {
      const value = query.get(name) ?? (name === "silent_s" ? USUAL : "");
      if (input === silent && !(value in SILENT)) silent.append(h("option", { value }, `${value} s`));
      input.value = value;
    }
    const key = FIELDS.map((name) => inputs[name].value).join("\n");
    if (key !== searched) search(key);
  }

  async function search(key) {
    searched = key;
    const mine = ++asked;
    say(told, "searching…");
    trouble.hidden = true;
    let counted = 0;
    try {
      const answer = await ask("devices/list", { ...Object.fromEntries(FIELDS.map((name) => [name, inputs[name].value])), limit: LIMIT });
      if (mine !== asked) return;
      found = answer.devices;
      counted = answer.counted;
    } catch (error) {
      if (mine !== asked) return;
      found = [];
      say(trouble, error.message);
      trouble.hidden = false;
    }
    at = Date.now() / 1000;
    list.update(found, (row) => `${row.tenant}/${row.agent}`);
    const some = counted > found.length ? `, of which the ${found.length} silent for longest are shown` : "";
    say(told, `${number(counted)} found${some}`);
    say(list.note, trouble.hidden ? "No device is known that fits. Choose all devices to see those that send, or check what the device publishes to." : "");
  }

  const element = h("div", {}, h("section", { class: "panel", "aria-label": "Search" }, form), panel("Devices", told, trouble, list.element));
  return {
    title: "Devices",
    element,
    arrive,
    update(now) {
      at = now.at;
      list.update(found, (row) => `${row.tenant}/${row.agent}`);
    },
  };
}
