"use strict";
// The cells of the run as objects, how they are worded, and the one way in which elements are made: text is never markup.

const DATA = JSON.parse(document.getElementById("data").textContent);
const CELLS = DATA.cells.map((row, index) => {
  const cell = { index };
  DATA.fields.forEach((field, at) => (cell[field] = Array.isArray(row[at]) ? DATA.pool[row[at][0]] : row[at]));
  cell.words = `${cell.id} ${cell.status} ${(cell.problems || []).join(" ")}`.toLowerCase();
  cell.share = worstShare(cell);
  return cell;
});
const BY_ID = new Map(CELLS.map((cell) => [cell.id, cell]));
const GOOD = ["passed", "skipped", "unverified"];

/** An element with properties, `data-…` and `aria-…` attributes, and children; a string child is text. */
function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key in element && !key.includes("-")) element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** The values of a field in the order of the plan, each once. */
function distinct(field, cells = CELLS) {
  return [...new Set(cells.map((cell) => cell[field]))];
}

function isKnown(cell) {
  return cell.expected && !GOOD.includes(cell.status);
}

/** It ended well, and worse than what was accepted. */
function isWorse(cell) {
  return GOOD.includes(cell.status) && cell.worse.length > 0;
}

function statusText(cell) {
  if (isWorse(cell)) return `${cell.status} (worse)`;
  return isKnown(cell) ? `${cell.status} (known)` : cell.status;
}

function statusClass(cell) {
  if (isWorse(cell)) return `${cell.status} worse`;
  return isKnown(cell) ? `${cell.status} known` : cell.status;
}

function sign(cell) {
  return isWorse(cell) ? "↓" : DATA.signs[cell.status];
}

function badge(cell) {
  return h("span", { className: `badge ${statusClass(cell)}`, "aria-hidden": "true" }, sign(cell));
}

function opsetText(cell) {
  return cell.actual === null || cell.actual === cell.opset ? `${cell.opset}` : `${cell.opset} → ${cell.actual}`;
}

/** A figure as the other reports write it: `1.7e-07`. */
function figureText(value) {
  return value === 0 ? "0" : value.toExponential(1).replace(/e([+-])(\d)$/, "e$10$2");
}

/** Error over bound of one check; null if it measured nothing, infinite if its error is not finite. */
function shareOf([, status, , measured, threshold]) {
  const share = ratio(measured, threshold);
  return share === Infinity && measured === null && status !== "failed" && status !== "error" ? null : share;
}

/** Null without a bound; JSON has no infinity, so that a figure which is missing beside its bound was none that is finite. */
function ratio(measured, threshold) {
  if (threshold === null) return null;
  if (measured === null) return Infinity;
  if (threshold === 0) return measured === 0 ? 0 : Infinity;
  return measured / threshold;
}

function worstShare(cell) {
  const shares = cell.checks.map(shareOf).filter((share) => share !== null);
  return shares.length ? Math.max(...shares) : null;
}

function shareText(share) {
  if (share === null) return "";
  if (!Number.isFinite(share)) return "∞";
  if (share >= 10) return `${share >= 1e4 ? figureText(share) : Math.round(share)} ×`;
  return share < 0.001 && share > 0 ? "< 0.1 %" : `${(share * 100).toPrecision(share < 0.1 ? 2 : 3).replace(/\.0+$/, "")} %`;
}

function secondsText(seconds) {
  if (seconds === undefined || seconds === null) return "";
  if (seconds < 0.0005) return "< 1 ms";
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 99.95) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${String(Math.round(seconds % 60)).padStart(2, "0")} s`;
}

function tookText(cell) {
  return { cache: "cached", resumed: "before" }[cell.origin] || secondsText(cell.durations.total);
}

function operatorCount(cell) {
  return cell.operators ? Object.values(cell.operators).reduce((sum, count) => sum + count, 0) : null;
}

/** Cells of the same model under the same conditions, whatever their exporter and opset. */
function siblings(cell) {
  const same = ["model", "dtype", "target", "swept"];
  return CELLS.filter((other) => same.every((field) => other[field] === cell[field]));
}
