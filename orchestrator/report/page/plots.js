"use strict";
// The drawings of a cell's panel: errors against their bounds by uPlot, durations and operators as bars beside their numbers.

const DASHES = [[], [6, 4]];
const LEAST_SHARE = 1e-4;
const MOST_SHARE = 1e9;
const MOST_TICK = 24;
const TICK_LETTER = 8;
const PLOT_HEIGHT = 240;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Error over bound of this cell on each of its probes, beside what other exporters reach on them at the same opset. */
function probePlot(cell, place) {
  const probes = [...new Set(probesOf(cell).map(([probe]) => probe))];
  const others = siblings(cell).filter((other) => other !== cell && other.opset === cell.opset && probesOf(other).length);
  const lines = [cell, ...others].map((each) => ({
    label: each.exporter,
    stroke: exporterColour(each.exporter),
    dash: each === cell ? DASHES[0] : DASHES[1],
    shares: probes.map((probe) =>
      most(
        probesOf(each)
          .filter(([name]) => name === probe)
          .map(([, measured, threshold]) => ratio(measured, threshold)),
      ),
    ),
  }));
  return sharePlot(place, probes, lines);
}

function probesOf(cell) {
  return cell.checks.flatMap(([, , , , , , , probes]) => probes);
}

/** The worst error over bound of each cell of this cell's model, over opsets: a line per exporter. */
function opsetPlot(cell, place) {
  const cells = siblings(cell).filter((other) => other.share !== null);
  const opsets = distinct("opset", cells).sort((a, b) => a - b);
  const lines = distinct("exporter", cells).map((exporter) => ({
    label: exporter,
    stroke: exporterColour(exporter),
    dash: exporter === cell.exporter ? DASHES[0] : DASHES[1],
    shares: opsets.map((opset) =>
      most(cells.filter((each) => each.exporter === exporter && each.opset === opset).map((each) => each.share)),
    ),
  }));
  return sharePlot(place, opsets.map(String), lines);
}

function most(shares) {
  const known = shares.filter((share) => share !== null);
  return known.length ? Math.max(...known) : null;
}

function exporterColour(exporter) {
  return colour(`--line-${distinct("exporter").indexOf(exporter) % 4}`);
}

/** Lines of errors over their bounds, on a logarithmic scale, with the bound itself. */
function sharePlot(place, ticks, lines) {
  const shown = (share) => (share === null ? null : Math.max(LEAST_SHARE, Math.min(share, MOST_SHARE)));
  const data = [ticks.map((_, at) => at), ...lines.map((line) => line.shares.map(shown)), ticks.map(() => 1)];
  const plot = new uPlot(shareOptions(lines, ticks, place), data, place);
  new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: PLOT_HEIGHT })).observe(place);
  return plot;
}

function shareOptions(lines, ticks, place) {
  const axis = {
    stroke: colour("--quiet"),
    grid: { stroke: colour("--rule"), width: 1 },
    ticks: { stroke: colour("--rule"), width: 1 },
    font: "12px system-ui, sans-serif",
  };
  const tilted = ticks.join("").length * TICK_LETTER > place.clientWidth - 120;
  const longest = Math.min(MOST_TICK, Math.max(...ticks.map((tick) => tick.length)));
  const below = tilted ? { rotate: -35, size: 24 + longest * 4 } : { size: 34 };
  const cut = (tick) => (tick === undefined ? "" : tick.length > MOST_TICK ? `${tick.slice(0, MOST_TICK - 1)}…` : tick);
  return {
    width: place.clientWidth,
    height: PLOT_HEIGHT,
    padding: [null, tilted ? 4 * longest : null, null, null],
    scales: {
      x: { time: false, range: [-0.5, ticks.length - 0.5] },
      y: { distr: 3, range: (_, low, high) => [Math.min(low, 0.01) / 2, Math.max(high, 1) * 4] },
    },
    axes: [
      { ...axis, ...below, splits: () => ticks.map((_, at) => at), values: (_, splits) => splits.map((at) => cut(ticks[at])) },
      {
        ...axis,
        size: 60,
        splits: (_, at, low, high) => powers(low, high),
        filter: (_, splits) => splits,
        values: (_, splits) => splits.map(powerText),
      },
    ],
    series: [
      { label: "at", value: (_, at) => (at === null ? "" : ticks[at]) },
      ...lines.map((line) => ({
        label: line.label,
        stroke: line.stroke,
        dash: line.dash,
        width: 2,
        points: { show: true, size: 7, fill: line.stroke },
        value: (_, value) => (value === null ? "" : shareText(value)),
        spanGaps: true,
      })),
      { label: "bound", stroke: colour("--text"), width: 1.5, dash: [1, 4], points: { show: false }, value: () => "100 %" },
    ],
    cursor: { drag: { x: false, y: false }, y: false },
  };
}

function powerText(value) {
  if (value <= 1) return `${Number((value * 100).toPrecision(3))} %`;
  return value < 1e4 ? `${Math.round(value)} ×` : `1e${Math.round(Math.log10(value))} ×`;
}

/** At most six powers of ten, the bound among them. */
function powers(low, high) {
  const [first, last] = [Math.ceil(Math.log10(low)), Math.floor(Math.log10(high))];
  const step = Math.max(1, Math.ceil((last - first) / 6));
  const found = [];
  for (let power = -Math.floor(-first / step) * step; power <= last; power += step) found.push(10 ** power);
  return found;
}

/** Where the time went: a bar of stages, each named with its seconds. */
function durationBar(cell) {
  const stages = Object.entries(cell.durations).filter(([stage]) => stage !== "total");
  if (!stages.length) return null;
  const bar = h("div", { className: "stack", "aria-hidden": "true" });
  const total = stages.reduce((sum, [, seconds]) => sum + seconds, 0);
  stages.forEach(([stage, seconds], at) => {
    const part = h("span", { className: `stage-${at % 5}`, title: `${stage} ${secondsText(seconds)}` });
    part.style.flexGrow = (100 * seconds) / total;
    bar.append(part);
  });
  const names = stages.map(([stage, seconds], at) =>
    h(
      "li",
      {},
      h("span", { className: `key stage-${at % 5}`, "aria-hidden": "true" }),
      ` ${stage} `,
      h("b", {}, secondsText(seconds)),
    ),
  );
  return h("div", {}, bar, h("ul", { className: "keys" }, ...names));
}

/** How much of its bound an error takes, as a bar that ends at the bound. */
function shareBar(share) {
  const fill = h("span", { className: share > 1 ? "over" : "" });
  // A tenth of the bar is a factor of ten, of which five fit below the bound.
  const length = share <= 0 ? 0 : Math.max(0.02, Math.min(1, 1 + Math.log10(Math.min(share, 1)) / 5));
  fill.style.width = `${length * 100}%`;
  return h("span", { className: "share", "aria-hidden": "true" }, fill);
}
