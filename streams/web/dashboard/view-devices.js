// Devices: filled in when the worker knows when each was seen last.

import { h, panel } from "./dom.js";

export function devices() {
  return { title: "Devices", element: panel("Devices", h("p", { class: "empty" }, "Not there yet.")), update() {} };
}
