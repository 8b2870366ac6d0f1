// Starts the page: views by URL, keys, theme, and the stream that feeds them.

import { h, replace, say } from "./dom.js";
import { clock, duration } from "./format.js";
import { remakePlots } from "./plots.js";
import { isStale, listen, send, silentFor, store } from "./stream.js";
import { devices } from "./view-devices.js";
import { login } from "./view-login.js";
import { overview } from "./view-overview.js";
import { rejected } from "./view-rejected.js";
import { tenants } from "./view-tenants.js";
import { workers } from "./view-workers.js";

const VIEWS = { overview, rejected, tenants, devices, workers };
const SPANS = { 60: "1 min", 300: "5 min", 900: "15 min" };
const THEMES = ["auto", "light", "dark"];
const main = document.getElementById("main");
const banner = document.getElementById("banner");
const live = document.getElementById("live");

let view = null;
let shownAs = "";

// #/rejected?reason=tenant_unknown&span=300: the view, and all that is chosen in it.
export function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { name: path in VIEWS ? path : "overview", query: new URLSearchParams(query ?? "") };
}

export function go(name, query = new URLSearchParams(), { quietly = false } = {}) {
  const span = query.get("span") ?? place().query.get("span");
  if (span && span !== "900") query.set("span", span);
  else query.delete("span");
  const hash = `#/${name}${query.size ? `?${query}` : ""}`;
  if (quietly) history.replaceState(null, "", hash);
  else location.hash = hash;
}

function span() {
  const asked = Number(place().query.get("span"));
  return asked in SPANS ? asked : 900;
}

function route() {
  const { name, query } = place();
  if (shownAs !== name) {
    view?.destroy?.();
    shownAs = name;
    view = VIEWS[name]({ go, place });
    replace(main, view.element);
    document.body.dataset.view = name;
    document.title = `${view.title} · metric-streams`;
    for (const link of document.querySelectorAll("#views a")) {
      if (link.dataset.view === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }
  for (const button of document.querySelectorAll("#spans button")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.span) === span()));
  }
  view.arrive?.(query);
  draw();
}

function draw() {
  if (!view || document.hidden || !store.now) return;
  say(document.getElementById("group"), store.now.group === "metric-streams" ? "" : store.now.group);
  view.update(store.now, span());
  tellTrouble();
}

function tellTrouble() {
  const connected = store.heardAt > 0;
  const stale = isStale();
  document.documentElement.classList.toggle("stale", stale);
  say(live, !connected ? "connecting" : stale ? `stale, ${duration(silentFor())}` : store.paused ? "paused" : "live");
  live.className = `live ${stale ? "down" : store.paused ? "waiting" : "up"}`;
  if (stale && connected) {
    const seen = store.now ? ` What is shown is of ${clock(store.now.at)}.` : "";
    show(`The worker has told nothing for ${duration(silentFor())}.${seen} Is it running?`);
    return;
  }
  const down = Object.entries(store.now?.parts ?? {}).filter(([, part]) => !part.up);
  const lines = down.map(([name, part]) => `${name}: ${part.detail || "down"}`);
  if (store.now && !store.now.exchange.up) {
    lines.push(`The other workers are not known, the figures are this worker's alone (redis: ${store.now.exchange.detail})`);
  }
  show(lines.join("\n"));
}

function show(text) {
  say(banner, text);
  banner.hidden = !text;
}

function cycleTheme() {
  const now = document.documentElement.dataset.theme ?? "auto";
  setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  say(document.getElementById("theme"), `Theme: ${theme}`);
  try {
    localStorage.setItem("metric-streams theme", theme);
  } catch {
    // private windows may forbid it
  }
  remakePlots();
}

function pause() {
  store.paused = !store.paused;
  const button = document.getElementById("pause");
  button.setAttribute("aria-pressed", String(store.paused));
  say(button, store.paused ? "Go on" : "Pause");
  tellTrouble();
}

function setSpan(seconds) {
  const { name, query } = place();
  query.set("span", String(seconds));
  go(name, query);
}

const names = Object.keys(VIEWS);
const KEYS = [
  ...names.map((name, index) => [String(index + 1), `show ${name}`, () => go(name)]),
  ["[", "show less time", () => setSpan(step(-1))],
  ["]", "show more time", () => setSpan(step(1))],
  ["p", "pause, and go on", pause],
  ["t", "theme: auto, light, dark", cycleTheme],
  ["/", "search the rejected messages", () => { go("rejected"); setTimeout(() => document.getElementById("search-text")?.focus()); }],
  ["?", "show these keys", () => document.getElementById("keys").showModal()],
];

function step(by) {
  const all = Object.keys(SPANS).map(Number);
  return all[Math.min(all.length - 1, Math.max(0, all.indexOf(span()) + by))];
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest?.("input, select, textarea, dialog[open]")) return;
  const found = KEYS.find(([key]) => key === event.key);
  if (!found) return;
  event.preventDefault();
  found[2]();
}

function logIn(status, why) {
  document.body.classList.add("logged-out");
  shownAs = "";
  view?.destroy?.();
  view = null;
  show("");
  say(live, "not logged in");
  replace(main, login(status, why, start));
}

function start() {
  document.body.classList.remove("logged-out");
  route();
  listen({ onSecond: draw, onRefused: logIn, onLost: tellTrouble });
  tellLogin();
}

async function tellLogin() {
  try {
    const answer = await fetch("session", { cache: "no-store" });
    document.getElementById("logout").hidden = !(answer.ok && (await answer.json()).logged_in);
  } catch {
    // the worker is away, which shows elsewhere
  }
}

function build() {
  document.getElementById("views").append(
    ...names.map((name, index) => h("a", { href: `#/${name}`, "data-view": name, title: `Key ${index + 1}` }, name[0].toUpperCase() + name.slice(1))),
  );
  document.getElementById("spans").append(
    ...Object.entries(SPANS).map(([seconds, label]) =>
      h("button", { type: "button", "data-span": seconds, "aria-pressed": "false", onclick: () => setSpan(Number(seconds)) }, label)),
  );
  document.getElementById("keys-list").append(
    ...KEYS.flatMap(([key, does]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, does)]),
  );
  document.getElementById("pause").addEventListener("click", pause);
  document.getElementById("theme").addEventListener("click", cycleTheme);
  document.getElementById("help").addEventListener("click", () => document.getElementById("keys").showModal());
  document.getElementById("logout").addEventListener("click", async () => {
    await send("logout");
    location.reload();
  });
  document.addEventListener("keydown", onKey);
  document.addEventListener("visibilitychange", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", remakePlots);
  addEventListener("hashchange", route);
  setInterval(tellTrouble, 500);
  let theme = null;
  try {
    theme = localStorage.getItem("metric-streams theme");
  } catch {
    // private windows may forbid it
  }
  setTheme(THEMES.includes(theme) ? theme : "auto");
}

build();
start();
