// Trades WEB_TOKEN for a cookie.

import { h, say } from "./dom.js";
import { send } from "./stream.js";

export function login(status, why, onDone) {
  if (status === 403) return h("section", { class: "panel login" }, h("h2", {}, "Not answered here"), h("p", {}, why));
  const field = h("input", { type: "password", id: "token", name: "token", autocomplete: "current-password", required: true });
  const trouble = h("p", { class: "bad", role: "alert" });
  const form = h(
    "form",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        say(trouble, "");
        try {
          await send("login", { token: field.value });
          onDone();
        } catch (error) {
          say(trouble, error.message);
          field.select();
        }
      },
    },
    h("label", { for: "token" }, "WEB_TOKEN of this worker"),
    field,
    h("button", { class: "primary" }, "Log in"),
    trouble,
  );
  setTimeout(() => field.focus());
  return h("section", { class: "panel login", "aria-label": "Log in" }, h("h2", {}, "Log in"), form);
}
