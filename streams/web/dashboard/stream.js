// The event stream: keeps the last fifteen minutes, and knows how old they are.

const KEPT_S = 15 * 60;
const STALE_MS = 3500; // the worker speaks each second

export const store = {
  columns: { at: [] },
  now: null,
  heardAt: 0,
  paused: false,
};

export function isStale() {
  return performance.now() - store.heardAt > STALE_MS;
}

export function silentFor() {
  return (performance.now() - store.heardAt) / 1000;
}

// What was here before a restart stays, with a gap behind it: a new process knows nothing of it.
function takeHistory(history) {
  const begin = history.at.length ? history.at[0] : Infinity;
  const old = store.columns;
  const kept = old.at.filter((at) => at < begin).length;
  const names = new Set([...Object.keys(old), ...Object.keys(history)]);
  const columns = {};
  const gap = kept > 0 && history.at.length && begin - old.at[kept - 1] > 3;
  for (const name of names) {
    const before = padded(old[name], old.at.length).slice(0, kept);
    const after = padded(history[name], history.at.length, 0);
    columns[name] = [...before, ...(gap ? [name === "at" ? begin - 1 : null] : []), ...after];
  }
  store.columns = columns;
  trim();
}

function takeSecond(second) {
  store.now = second;
  const { columns } = store;
  const last = columns.at[columns.at.length - 1];
  if (last !== undefined && second.at <= last) return; // the history had it
  const length = columns.at.length;
  for (const name of new Set([...Object.keys(columns), ...Object.keys(second.figures)])) {
    columns[name] = padded(columns[name], length, name.startsWith("rejected:") ? 0 : null);
    columns[name].push(name === "at" ? second.at : second.figures[name] ?? null);
  }
  trim();
}

function padded(column, length, value = null) {
  return column ?? new Array(length).fill(value);
}

function trim() {
  const { columns } = store;
  const oldest = columns.at[columns.at.length - 1] - KEPT_S;
  const drop = columns.at.findIndex((at) => at >= oldest);
  if (drop > 0) for (const name of Object.keys(columns)) columns[name].splice(0, drop);
}

// told: { onSecond(), onRefused(status, why), onLost() }
export function listen(told) {
  const source = new EventSource("events");
  source.addEventListener("history", (event) => takeHistory(JSON.parse(event.data)));
  source.addEventListener("second", (event) => {
    store.heardAt = performance.now();
    if (store.paused) return;
    takeSecond(JSON.parse(event.data));
    told.onSecond();
  });
  source.addEventListener("error", async () => {
    told.onLost();
    if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself
    source.close();
    try {
      const answer = await fetch("session", { cache: "no-store" });
      if (answer.status === 401 || answer.status === 403) {
        told.onRefused(answer.status, (await answer.json()).error);
        return;
      }
    } catch {
      // the worker is away
    }
    setTimeout(() => listen(told), 1000);
  });
  return source;
}

export async function send(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Metric-Streams": "1" },
    body: JSON.stringify(body ?? {}),
  });
  const text = await answer.text();
  const said = text ? JSON.parse(text) : {};
  if (!answer.ok) throw new Error(said.error ?? `HTTP ${answer.status}`);
  return said;
}

export async function ask(path, query) {
  const answer = await fetch(`${path}?${new URLSearchParams(query)}`, { cache: "no-store" });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error ?? `HTTP ${answer.status}`);
  return said;
}
