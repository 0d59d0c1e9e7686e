"use strict";
// Filters, the list below the matrix, and what joins them: one set of matching cells.

const PAGE = 50;
const AXES = ["model", "exporter", "opset", "dtype", "target", "swept"];

const filters = { statuses: new Set(), text: "", cause: null, fell: null, rule: null, unexpected: false };
let matches = CELLS;
let listed = 0;

const matrix = new Matrix(document.getElementById("matrix"), (cell) => panel.open(cell));
const panel = new Panel(
  document.getElementById("panel"),
  () => matches,
  (cell) => matrix.focusCell(cell),
);

function wanted(cell) {
  return (
    (!filters.statuses.size || filters.statuses.has(cell.status)) &&
    (!filters.unexpected || !cell.expected) &&
    AXES.every((axis) => !filters[axis] || `${cell[axis]}` === filters[axis]) &&
    (filters.cause === null || cell.cause === filters.cause) &&
    (filters.rule === null || cell.worse.includes(filters.rule)) &&
    (filters.fell === null || cell.fell === filters.fell) &&
    filters.text.split(" ").every((word) => cell.words.includes(word))
  );
}

function apply() {
  matches = CELLS.filter(wanted);
  matrix.show(matches);
  drawList();
  const special = [
    filters.cause !== null && "one cause",
    filters.fell !== null && `fell out at ${filters.fell}`,
    filters.rule !== null && `worse by ${filters.rule}`,
  ]
    .filter(Boolean)
    .join(", ");
  const all = matches.length === CELLS.length;
  document.getElementById("shown").textContent =
    (all ? `${CELLS.length} cells` : `${matches.length} of ${CELLS.length} cells`) + (special ? ` (${special})` : "");
  clear.hidden = all && !special;
}

function drawList() {
  listed = 0;
  // What needs someone's attention first; the sort is stable.
  const rank = (cell) => (cell.expected ? (cell.status === "passed" ? 2 : 1) : 0);
  listOrder = [...matches].sort((a, b) => rank(a) - rank(b));
  listBody.replaceChildren();
  more();
}

function more() {
  const next = listOrder.slice(listed, listed + PAGE);
  listBody.append(...next.map(listRow));
  listed += next.length;
  moreButton.hidden = listed >= listOrder.length;
  moreButton.textContent = `Show more (${listOrder.length - listed} left)`;
}

function listRow(cell) {
  const name = cellLink(cell.id);
  const figures = [
    ["error ÷ bound", shareText(cell.share)],
    ["opset", opsetText(cell)],
    ["size", cell.size || ""],
    ["operators", operatorCount(cell) === null ? "" : `${operatorCount(cell)}`],
    ["time", tookText(cell)],
  ];
  return h(
    "tr",
    {},
    h("td", { className: "state" }, badge(cell), ` ${statusText(cell)}`),
    h("th", { scope: "row" }, name),
    ...figures.map(([label, text]) => h("td", { className: "figure", "data-label": label }, text)),
  );
}

const listBody = h("tbody");
let listOrder = [];
const moreButton = h("button", { type: "button", onclick: more });
const clear = h("button", { type: "button", onclick: reset }, "Clear filters");

function makeList() {
  const heads = ["status", "cell", "error ÷ bound", "opset", "size", "operators", "time"];
  const head = h("tr", {}, ...heads.map((text, at) => h("th", { scope: "col", className: at > 1 ? "figure" : "" }, text)));
  document.getElementById("list").append(h("table", { className: "list" }, h("thead", {}, head), listBody), moreButton);
}

function makeFilters() {
  const form = document.getElementById("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  const search = h("input", {
    type: "search",
    placeholder: "name or message",
    autocomplete: "off",
    oninput: () => set("text", search.value.trim().toLowerCase()),
  });
  form.append(
    statusFilter(),
    h("label", {}, h("span", {}, "text"), search),
    ...AXES.filter((axis) => distinct(axis).length > 1).map(axisFilter),
    heatChoice(),
    clear,
  );
}

function statusFilter() {
  const group = h("fieldset", {}, h("legend", {}, "status"));
  for (const status of Object.keys(DATA.signs)) {
    const own = CELLS.filter((cell) => cell.status === status);
    if (!own.length) continue;
    const box = h("input", { type: "checkbox", value: status, onchange: () => toggle(status, box.checked) });
    group.append(
      h(
        "label",
        { className: "chip" },
        box,
        badge({ status, worse: [], expected: own.every((cell) => cell.expected) }),
        ` ${status} `,
        h("small", {}, `${own.length}`),
      ),
    );
  }
  const bad = CELLS.filter((cell) => !cell.expected).length;
  const box = h("input", { type: "checkbox", onchange: () => set("unexpected", box.checked) });
  if (bad && bad < CELLS.length)
    group.append(h("label", { className: "chip" }, box, " not as expected ", h("small", {}, `${bad}`)));
  return group;
}

function toggle(status, on) {
  filters.statuses[on ? "add" : "delete"](status);
  apply();
}

function axisFilter(axis) {
  const values = distinct(axis);
  if (axis === "opset") values.sort((a, b) => a - b);
  const select = h(
    "select",
    { onchange: () => set(axis, select.value) },
    h("option", { value: "" }, "all"),
    ...values.map((value) => h("option", { value: `${value}` }, `${value}`)),
  );
  return h("label", {}, h("span", {}, axis), select);
}

function heatChoice() {
  const select = h(
    "select",
    { onchange: () => matrix.heat(select.value) },
    ...Object.keys(HEATS).map((name) => h("option", { value: name }, name)),
  );
  return h("label", {}, h("span", {}, "colour by"), select);
}

function set(key, value) {
  filters[key] = value;
  apply();
}

function reset() {
  Object.assign(filters, { statuses: new Set(), text: "", cause: null, fell: null, rule: null, unexpected: false });
  for (const axis of AXES) filters[axis] = "";
  const form = document.getElementById("filters");
  for (const input of form.querySelectorAll("input")) {
    input.checked = false;
    if (input.type === "search") input.value = "";
  }
  for (const axis of form.querySelectorAll("select")) if (axis.options[0].value === "") axis.value = "";
  apply();
}

/** Show the cells of a cause, or those that fell out at a step, whatever was filtered before. */
function showOnly(changes) {
  reset();
  Object.assign(filters, changes);
  apply();
  const section = document.getElementById("cells");
  section.scrollIntoView();
  section.focus({ preventScroll: true });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const link = event.target.closest("a[href^='#']");
  const cell = link && named(link.hash);
  if (cell && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    // Not left to the browser: on its way to an address it forgets which link had the focus.
    event.preventDefault();
    panel.open(cell);
  }
  if (button && button.dataset.cause) showOnly({ cause: Number(button.dataset.cause) });
  else if (button && button.dataset.rule) showOnly({ rule: button.dataset.rule });
  else if (button && button.dataset.fell) showOnly({ fell: button.dataset.fell, statuses: new Set([button.dataset.status]) });
});

function named(hash) {
  try {
    return BY_ID.get(decodeURIComponent(hash.slice(1)));
  } catch {
    return undefined;
  }
}

function openNamed() {
  const cell = named(location.hash);
  if (cell) panel.open(cell);
}

window.addEventListener("hashchange", openNamed);
makeFilters();
makeList();
apply();
openNamed();
