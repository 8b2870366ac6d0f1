// Time series with one cursor over all of them, and marks for what happened.

import { h } from "./dom.js";
import { clock, duration, number } from "./format.js";
import { store } from "./stream.js";

const KEY = "metric-streams";
const plots = new Set();

function colour(name) {
  const probe = h("span", { class: "probe" });
  document.body.append(probe);
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function rem() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize);
}

const MARK_COLOUR = { start: "--mark-start", rebalance: "--mark-rebalance", leader: "--mark-leader", part: "--mark-part" };

function marks() {
  return {
    hooks: {
      draw: (plot) => {
        const { ctx, bbox } = plot;
        for (const mark of store.now?.marks ?? []) {
          const x = plot.valToPos(mark.at, "x", true);
          if (x < bbox.left || x > bbox.left + bbox.width) continue;
          ctx.save();
          ctx.strokeStyle = plot.marksIn[mark.kind] ?? plot.marksIn.start;
          ctx.lineWidth = devicePixelRatio;
          ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
          ctx.restore();
        }
      },
    },
  };
}

// series: [{ name, label, colour, fill }]; unit: "number" or "duration"
export function plot(title, series, { unit = "number", note, highest = false } = {}) {
  const holder = h("div", { class: "plot", role: "img", "aria-label": title });
  const empty = h("p", { class: "empty", hidden: true }, note ?? "");
  const section = h("section", { class: "panel plot-panel", "aria-label": title }, h("h2", {}, title), holder, empty);
  const shown = unit === "duration" ? duration : number;
  let drawn = null;
  let span = 900;

  function make() {
    drawn?.destroy();
    const text = colour("--quiet");
    const grid = colour("--grid");
    const size = Math.round(rem() * 0.75);
    const font = `${size}px system-ui, sans-serif`;
    const axis = { stroke: text, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
    drawn = new uPlot(
      {
        width: Math.max(50, holder.clientWidth),
        height: Math.max(60, holder.clientHeight),
        cursor: { sync: { key: KEY, setSeries: false }, drag: { x: false, y: false }, y: false, points: { size: 7 } },
        legend: { live: true },
        scales: { x: { time: true, range: () => range() }, y: { range: (_, low, high) => [0, Math.max(high ?? 0, unit === "duration" ? 0.01 : 1) * 1.08] } },
        axes: [
          { ...axis, size: size * 2.1, space: size * 6, values: (_, ticks) => ticks.map((t) => clock(t).slice(0, ticks.length > 1 && ticks[1] - ticks[0] < 60 ? 8 : 5)) },
          { ...axis, size: size * 4.6, space: size * 3, values: (_, ticks) => ticks.map(shown) },
        ],
        series: [
          { label: "at", value: (_, at) => (at === null ? "" : clock(at)) },
          ...series.map((each) => ({
            label: each.label,
            stroke: colour(each.colour),
            fill: each.fill ? `color-mix(in srgb, ${colour(each.colour)} 14%, transparent)` : undefined,
            width: Math.max(1.5, rem() / 10),
            points: { show: false },
            spanGaps: false,
            value: (_, value) => shown(value),
          })),
        ],
        plugins: [marks()],
      },
      data(),
      holder,
    );
    fit();
    drawn.marksIn = Object.fromEntries(Object.entries(MARK_COLOUR).map(([kind, name]) => [kind, colour(name)]));
    drawn.redraw();
  }

  function range() {
    const at = store.columns.at;
    const end = at.length ? at[at.length - 1] : Date.now() / 1000;
    return [end - span, end];
  }

  // Over a long time single seconds flicker: of rates the mean of a few is drawn, of all else the highest.
  function data() {
    const { at } = store.columns;
    const step = Math.max(1, Math.round(span / 180));
    const columns = series.map((each) => store.columns[each.name] ?? new Array(at.length).fill(null));
    if (step === 1) return [at, ...columns];
    const drawnAt = [];
    const drawnColumns = columns.map(() => []);
    for (let begin = 0; begin < at.length; ) {
      const slot = Math.floor(at[begin] / step);
      let end = begin + 1;
      while (end < at.length && Math.floor(at[end] / step) === slot) end += 1;
      drawnAt.push(at[end - 1]);
      columns.forEach((column, index) => drawnColumns[index].push(together(column.slice(begin, end))));
      begin = end;
    }
    return [drawnAt, ...drawnColumns];
  }

  function together(values) {
    const known = values.filter((value) => value !== null && value !== undefined);
    if (!known.length) return null;
    if (highest) return Math.max(...known);
    return known.reduce((sum, value) => sum + value, 0) / known.length;
  }

  function update(spanS) {
    span = spanS;
    const known = series.some((each) => store.columns[each.name]?.some((value) => value !== null));
    empty.hidden = known || !note;
    holder.hidden = !known && Boolean(note);
    if (holder.hidden || !holder.isConnected) return;
    if (!drawn) make();
    drawn.setData(data());
    if (drawn.cursor.idx === null || drawn.cursor.left < 0) drawn.setLegend({ idx: drawn.data[0].length - 1 });
    const said = series.map((each) => `${each.label} ${shown(store.columns[each.name]?.at(-1))}`).join(", ");
    holder.setAttribute("aria-label", `${title}: now ${said}`);
  }

  function fit() {
    if (drawn && holder.isConnected) drawn.setSize({ width: Math.max(50, holder.clientWidth), height: plotHeight(holder) });
  }

  const own = { element: section, update, remake: () => drawn && make(), fit };
  const sizes = new ResizeObserver(fit);
  sizes.observe(holder);
  plots.add(own);
  own.destroy = () => {
    sizes.disconnect();
    plots.delete(own);
    drawn?.destroy();
  };
  return own;
}

// The holder is as high as plot and legend together.
function plotHeight(holder) {
  const legend = holder.querySelector(".u-legend");
  return Math.max(60, holder.clientHeight - (legend?.offsetHeight ?? 0));
}

export function remakePlots() {
  for (const each of plots) each.remake();
}
