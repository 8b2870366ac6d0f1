import { h, panel } from "./dom.js";

export function rejected() {
  return { title: "Rejected", element: panel("Rejected", h("p", { class: "empty" }, "Not there yet.")), update() {} };
}
