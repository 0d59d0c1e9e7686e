"use strict";
// The drawings of a cell's panel: errors against their bounds by uPlot, durations and operators as bars beside their numbers.

const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3]];
const LEAST_SHARE = 1e-4;
const PLOT_HEIGHT = 230;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Error over bound of this cell's model, over opsets: a line per exporter and check that measures. */
function errorPlot(cell, place) {
  const others = siblings(cell).filter((other) => other.share !== null);
  if (!others.length) return null;
  const opsets = distinct("opset", others).sort((a, b) => a - b);
  const lines = errorLines(others, opsets);
  const shown = (share) => (share === null || share === undefined ? null : Math.max(LEAST_SHARE, Math.min(share, 1e9)));
  const data = [opsets, ...lines.map((line) => line.shares.map(shown)), opsets.map(() => 1)];
  const plot = new uPlot(errorOptions(lines, opsets, cell, place), data, place);
  new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: PLOT_HEIGHT })).observe(place);
  return plot;
}

function errorLines(cells, opsets) {
  return distinct("exporter", cells).flatMap((exporter, at) => {
    const own = cells.filter((cell) => cell.exporter === exporter);
    const checks = [...new Set(own.flatMap((cell) => cell.checks.filter((check) => shareOf(check) !== null).map(([id]) => id)))];
    return checks.map((check, dash) => ({
      label: `${exporter}, ${check}`,
      stroke: colour(`--line-${at % 4}`),
      dash: DASHES[dash % DASHES.length],
      shares: opsets.map((opset) => {
        const cell = own.find((each) => each.opset === opset);
        const found = cell && cell.checks.find(([id]) => id === check);
        return found ? shareOf(found) : null;
      }),
    }));
  });
}

function errorOptions(lines, opsets, cell, place) {
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule"), width: 1 }, font: "12px system-ui, sans-serif" };
  return {
    width: place.clientWidth,
    height: PLOT_HEIGHT,
    scales: { x: { time: false, range: [opsets[0] - 0.5, opsets.at(-1) + 0.5] }, y: { distr: 3, range: (_, low, high) => [Math.min(low, 0.01) / 2, Math.max(high, 1) * 4] } },
    axes: [
      { ...axis, label: "opset", labelSize: 22, labelFont: axis.font, labelGap: 0, size: 34, splits: () => opsets, values: (_, splits) => splits.map(String) },
      { ...axis, size: 60, splits: (_, at, low, high) => powers(low, high), filter: (_, splits) => splits, values: (_, splits) => splits.map(powerText) },
    ],
    series: [
      { label: "opset" },
      ...lines.map((line) => ({ label: line.label, stroke: line.stroke, dash: line.dash, width: 2, points: { show: true, size: 7, fill: line.stroke }, value: (_, value) => (value === null ? "–" : shareText(value)), spanGaps: true })),
      { label: "bound", stroke: colour("--bad"), width: 1.5, dash: [1, 4], points: { show: false }, value: () => "100 %" },
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
  const names = stages.map(([stage, seconds], at) => h("li", {}, h("span", { className: `key stage-${at % 5}`, "aria-hidden": "true" }), ` ${stage} `, h("b", {}, secondsText(seconds))));
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
