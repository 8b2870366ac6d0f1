// What was refused and why: search, one message, replay and dismiss: one, selected, or all of the filter.

import { h, panel, replace, say, table } from "./dom.js";
import { moment, number } from "./format.js";
import { meaning, REASONS } from "./reasons.js";
import { ask, send } from "./stream.js";

const TIMES = { "15m": "the last 15 minutes", "2h": "the last 2 hours", "1d": "the last day", "7d": "the last 7 days", all: "all that is kept" };
const USUAL = "1d";
const FIELDS = ["reason", "tenant", "agent", "metric", "since", "text", "hidden"];
const LIMIT = 100;

export function rejected({ go, place }) {
  let found = { messages: [], counted: 0, by_reason: {} };
  let selected = new Set();
  let asked = 0;
  let lastText = "";
  let ended; // when the change began whose end the list knows: what was over before the page came is in it

  const form = searchForm((query) => go("rejected", query));
  const told = h("p", { class: "quiet", role: "status", id: "found" }, "");
  const trouble = h("p", { class: "bad", role: "alert", hidden: true });
  const detail = h("section", { class: "panel detail", "aria-label": "One message", hidden: true });
  const progress = h("div", { class: "panel change", role: "status", hidden: true });
  const list = table([
    { title: "", fill: (cell, row) => mark(cell, row) },
    { title: "Rejected", class: "number left", cell: (row) => moment(row.rejected_at) },
    { title: "Reason", fill: (cell, row) => openLink(cell, row) },
    { title: "Agent", class: "short", fill: (cell, row) => { say(cell, row.agent); cell.title = row.agent; } },
    { title: "Metric", class: "short", fill: (cell, row) => { say(cell, row.metric); cell.title = row.metric; } },
    { title: "Detail", class: "clip", fill: (cell, row) => { say(cell, row.detail); cell.title = row.detail; } },
    { title: "Tries", class: "number", cell: (row) => row.attempts },
    { title: "", cell: (row) => row.mark ?? "" },
  ], { caption: "Rejected messages", empty: "", rowClass: (row) => (row.coordinate === place().query.get("show") ? "open" : row.mark ? "gone" : "") });

  const buttons = {
    replay: h("button", { type: "button", id: "replay-selected", onclick: () => act("replay", chosenOnes(), `${selected.size} selected`) }, "Replay selected"),
    dismiss: h("button", { type: "button", onclick: () => act("dismiss", chosenOnes(), `${selected.size} selected`) }, "Dismiss selected"),
    replayAll: h("button", { type: "button", id: "replay-all", onclick: () => act("replay", chosen(), "all of the filter") }, "Replay all of the filter…"),
    dismissAll: h("button", { type: "button", onclick: () => act("dismiss", chosen(), "all of the filter") }, "Dismiss all of the filter…"),
  };
  const element = h("div", { class: "rejected" },
    h("section", { class: "panel", "aria-label": "Search" }, form.element),
    progress,
    h("div", { class: "found" },
      panel("Rejected messages", h("div", { class: "row actions" }, told, ...Object.values(buttons)), trouble, list.element),
      detail));

  function mark(cell, row) {
    let box = cell.firstElementChild;
    if (!box) {
      box = h("input", { type: "checkbox", "aria-label": `Select ${row.coordinate}` });
      box.addEventListener("change", () => {
        if (box.checked) selected.add(row.coordinate);
        else selected.delete(row.coordinate);
        tellButtons();
      });
      cell.append(box);
    }
    box.checked = selected.has(row.coordinate);
    box.disabled = Boolean(row.mark);
  }

  function openLink(cell, row) {
    if (!cell.firstElementChild) {
      cell.append(h("a", { href: "#", onclick: (event) => { event.preventDefault(); open(row.coordinate); } }, row.reason));
    }
    const query = new URLSearchParams(place().query);
    query.set("show", row.coordinate);
    cell.firstElementChild.setAttribute("href", `#/rejected?${query}`);
  }

  function open(coordinate) {
    const { query } = place();
    if (coordinate) query.set("show", coordinate);
    else query.delete("show");
    go("rejected", query);
  }

  // The filter as the worker takes it.
  function chosen() {
    const { query } = place();
    const filter = { since: since(query), hidden: false };
    for (const name of ["tenant", "agent", "metric", "text"]) filter[name] = query.get(name) ?? "";
    filter.reasons = query.get("reason") ? [query.get("reason")] : [];
    return filter;
  }

  function chosenOnes(coordinates = [...selected]) {
    return { coordinates };
  }

  async function search() {
    const query = new URLSearchParams(place().query);
    for (const name of [...query.keys()]) if (!FIELDS.includes(name)) query.delete(name);
    query.set("since", since(query));
    query.set("limit", String(LIMIT));
    const mine = ++asked;
    say(told, "searching…");
    trouble.hidden = true;
    try {
      const answer = await ask("rejected/list", query);
      if (mine !== asked) return;
      found = answer;
    } catch (error) {
      if (mine !== asked) return;
      found = { messages: [], counted: 0, by_reason: {} };
      say(trouble, error.message);
      trouble.hidden = false;
    }
    const there = new Set(found.messages.map((each) => each.coordinate));
    selected = new Set([...selected].filter((each) => there.has(each)));
    show();
  }

  function show() {
    list.update(found.messages, (row) => row.coordinate);
    const some = found.counted > found.messages.length ? `, of which the newest ${number(found.messages.length)} are shown` : "";
    say(told, `${number(found.counted)} found${some}`);
    say(list.note, trouble.hidden ? "Nothing was rejected that fits this, or all of it was replayed or dismissed. Try a longer time, or show those as well." : "");
    tellButtons();
    showDetail();
  }

  function tellButtons() {
    buttons.replay.disabled = buttons.dismiss.disabled = selected.size === 0;
    say(buttons.replay, selected.size ? `Replay selected (${selected.size})` : "Replay selected");
    say(buttons.dismiss, selected.size ? `Dismiss selected (${selected.size})` : "Dismiss selected");
    buttons.replayAll.disabled = buttons.dismissAll.disabled = found.counted === 0;
  }

  function showDetail() {
    const at = place().query.get("show");
    const message = found.messages.find((each) => each.coordinate === at);
    detail.hidden = !message;
    element.classList.toggle("with-detail", Boolean(message));
    if (!message) return;
    const [means, mend] = meaning(message.reason);
    replace(detail,
      h("div", { class: "row" }, h("h2", {}, `${message.coordinate}: ${message.reason}`), h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => open("") }, "✕")),
      h("p", { id: "means" }, means, " ", h("strong", {}, mend)),
      h("dl", {}, [
        ["Detail", message.detail],
        ["Topic", message.topic],
        ["Tenant", message.tenant],
        ["Received", message.received_at],
        ["Rejected", `${moment(message.rejected_at)}, in the step ${message.stage}`],
        ["Tries", String(message.attempts)],
        ["Since then", message.mark ?? "nothing"],
      ].flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])),
      h("h2", {}, "Payload"),
      h("pre", { tabindex: "0" }, message.payload, message.is_cut ? "…" : ""),
      h("div", { class: "row" },
        h("button", { type: "button", class: "primary", id: "replay-one", disabled: !message.can_replay || Boolean(message.mark), onclick: () => act("replay", chosenOnes([message.coordinate]), "this message") }, "Replay"),
        h("button", { type: "button", disabled: Boolean(message.mark), onclick: () => act("dismiss", chosenOnes([message.coordinate]), "this message") }, "Dismiss"),
        message.can_replay ? null : h("span", { class: "quiet" }, "Only its beginning was kept: it cannot be replayed.")));
  }

  async function act(does, filter, what) {
    trouble.hidden = true;
    say(told, "counting…");
    try {
      const plan = await send("rejected/plan", { does, chosen: filter });
      show();
      const count = plan.messages + (does === "dismiss" ? plan.cut : 0);
      if (!count) throw new Error(plan.cut ? "Only the beginning of these was kept: they cannot be replayed." : "Nothing of this is left to be done.");
      const rate = await confirm(does, what, plan, count);
      if (rate === false) return;
      await send("rejected/change", { does, chosen: filter, ends: plan.ends, rate });
      selected.clear();
    } catch (error) {
      show();
      say(trouble, error.message);
      trouble.hidden = false;
    }
  }

  function tellChange(change) {
    ended ??= change?.is_over ? change.began_at : 0;
    progress.hidden = !change;
    if (!change) return;
    const verb = change.does === "replay" ? "Replay" : "Dismissal";
    const [read, total] = change.progress;
    const text = !change.is_over
      ? `${verb} under way: ${number(read)} of ${number(total)} records read`
      : change.error ? `${verb} ended early: ${change.error}` : `${verb} done: ${outcome(change.done)}`;
    if (text !== lastText) replace(progress, h("span", {}, text), change.is_over ? null : h("button", { type: "button", onclick: () => send("rejected/stop") }, "Stop"));
    lastText = text;
    if (!change.is_over || change.began_at === ended) return;
    ended = change.began_at;
    search();
  }

  tellButtons();
  return {
    title: "Rejected",
    element,
    arrive(query) {
      form.set(query);
      const key = FIELDS.map((name) => query.get(name) ?? "").join("\n");
      if (key !== this.searched) {
        this.searched = key;
        search();
      } else show();
    },
    update(now) {
      tellChange(now.change);
    },
  };
}

function since(query) {
  const asked = query.get("since") ?? USUAL;
  return asked === "all" ? "" : asked;
}

function outcome(done) {
  if (done.dismissed !== undefined) return `${number(done.dismissed)} dismissed`;
  const left = done.superseded ? `, ${number(done.superseded)} left out: a later value was accepted since, or they were` : "";
  return `${number(done.replayed)} put back${left}. What is rejected again comes back with its number of tries.`;
}

function searchForm(onSearch) {
  const reason = h("select", { id: "search-reason", name: "reason" }, h("option", { value: "" }, "every reason"), Object.keys(REASONS).map((each) => h("option", { value: each }, each)));
  const since = h("select", { id: "search-since", name: "since" }, Object.entries(TIMES).map(([value, label]) => h("option", { value }, label)));
  const inputs = { reason, since };
  const labelled = (name, label, input) => h("div", { class: "field" }, h("label", { for: `search-${name}` }, label), input);
  for (const name of ["text", "tenant", "agent", "metric"]) {
    inputs[name] = h("input", { id: `search-${name}`, name, type: "search", autocomplete: "off", spellcheck: "false", placeholder: name === "text" ? "in topic, payload, detail" : "edge-*" });
  }
  inputs.tenant.placeholder = "1111*";
  inputs.metric.placeholder = "cpu.*";
  const hidden = h("input", { id: "search-hidden", name: "hidden", type: "checkbox" });
  const element = h("form", { class: "search", onsubmit: (event) => { event.preventDefault(); submit(); } },
    labelled("text", "Text", inputs.text), labelled("reason", "Reason", reason), labelled("tenant", "Tenant", inputs.tenant),
    labelled("agent", "Agent", inputs.agent), labelled("metric", "Metric", inputs.metric), labelled("since", "Rejected in", since),
    h("div", { class: "field check" }, h("label", { for: "search-hidden" }, hidden, " also replayed and dismissed")),
    h("button", { class: "primary", id: "search-go" }, "Search"));
  function submit() {
    const query = new URLSearchParams();
    for (const [name, input] of Object.entries(inputs)) if (input.value.trim() && !(name === "since" && input.value === USUAL)) query.set(name, input.value.trim());
    if (hidden.checked) query.set("hidden", "1");
    onSearch(query);
  }
  for (const input of [reason, since, hidden]) input.addEventListener("change", submit);
  return {
    element,
    set(query) {
      for (const [name, input] of Object.entries(inputs)) {
        const value = query.get(name) ?? (name === "since" ? USUAL : "");
        if (input.tagName === "SELECT" && ![...input.options].some((option) => option.value === value)) input.append(h("option", { value }, value));
        if (input !== document.activeElement) input.value = value;
      }
      hidden.checked = query.get("hidden") === "1";
    },
  };
}

// Shows the count first; resolves to the rate (null for no limit), or false.
function confirm(does, what, plan, count) {
  const dialog = document.getElementById("ask");
  const rate = h("input", { type: "number", id: "ask-rate", min: "1", step: "1", placeholder: "no limit" });
  say(document.getElementById("ask-title"), does === "replay" ? `Replay ${number(count)} messages?` : `Dismiss ${number(count)} messages?`);
  replace(document.getElementById("ask-text"),
    h("p", {}, does === "replay"
      ? `This puts ${what} back to the beginning of the pipeline, with the time of arrival and identity that they had. Doing it twice changes nothing.`
      : `This hides ${what} from now on. They stay on metrics.rejected.`),
    h("dl", {}, Object.entries(plan.by_reason).flatMap(([name, number_]) => [h("dt", {}, name), h("dd", { class: "count" }, number(number_))])),
    ...(does === "replay" ? [h("p", { class: "row" }, h("label", { for: "ask-rate" }, "Messages a second at most"), rate)] : []),
    ...(plan.cut && does === "replay" ? [h("p", { class: "quiet" }, `${number(plan.cut)} more cannot be replayed: only their beginning was kept.`)] : []));
  say(document.getElementById("ask-yes"), does === "replay" ? "Replay" : "Dismiss");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? Number(rate.value) || null : false), { once: true });
  });
}
