// Which tenants send the most, and which do not exist.

import { h, panel, table } from "./dom.js";
import { ago, number } from "./format.js";
import { busy, link } from "./view-overview.js";

export function tenants() {
  let at = 0;
  const busiest = table([
    { title: "Tenant", class: "mono", cell: (row) => row.id },
    { title: "Messages/s", class: "number", cell: (row) => number(row.per_s) },
    { title: "Since the worker knows it", class: "number", cell: (row) => number(row.total) },
    { title: "Last", class: "number", cell: (row) => ago(row.last, at) },
  ], { caption: "Busiest tenants", empty: "No tenant sends yet. Publish to metrics/{tenant}/{agent}/{metric}, or try: metric-streams simulate." });
  const unknown = table([
    { title: "Tenant", class: "mono", fill: (cell, row) => link(cell, `#/rejected?reason=tenant_unknown&tenant=${encodeURIComponent(row.id)}`, row.id) },
    { title: "Attempts/s", class: "number", cell: (row) => number(row.per_s) },
    { title: "Attempts", class: "number", cell: (row) => number(row.total) },
    { title: "Last attempt", class: "number", cell: (row) => ago(row.last, at) },
  ], { caption: "Tenants that do not exist", empty: "Every tenant that was named exists." });
  const element = h(
    "div",
    { class: "pair" },
    panel("Busiest tenants", h("p", { class: "quiet" }, "By what is handed off, of late."), busiest.element),
    panel("Tenants that do not exist", h("p", { class: "quiet" }, "Add one with: metric-streams tenants add, and replay what was rejected."), unknown.element),
  );
  return {
    title: "Tenants",
    element,
    update(now) {
      at = now.at;
      busiest.update(busy(now.workers, "tenants"), (row) => row.id);
      unknown.update(busy(now.workers, "unknown_tenants").sort((a, b) => b.last - a.last), (row) => row.id);
    },
  };
}
