"use strict";
// The cells as a picture: a row per model, a column per exporter and opset. One stop for the Tab key, arrows inside.

const CELL_WIDTH = 27;
const GAP = 12;
const LETTER_WIDTH = 7.3;
const HEAT_STEPS = 6;
const HEATS = {
  status: null,
  "error ÷ bound": (cell) => cell.share,
  time: (cell) => (cell.origin === "ran" ? cell.durations.total : null),
  size: (cell) => cell.bytes,
};

class Matrix {
  constructor(place, open) {
    this.place = place;
    this.open = open;
    this.squares = new Array(CELLS.length);
    this.columns = matrixColumns();
    this.rows = this.makeRows();
    this.place.addEventListener("click", (event) => this.pressed(event.target));
    this.place.addEventListener("keydown", (event) => this.key(event));
    this.draw();
  }

  makeRows() {
    const varied = ["dtype", "target", "swept"].filter((field) => distinct(field).length > 1);
    const rows = new Map();
    for (const cell of CELLS) {
      const label = [cell.model, ...varied.map((field) => cell[field])].filter(Boolean).join(" · ");
      if (!rows.has(label)) rows.set(label, { label, cells: new Map(), hidden: false });
      rows.get(label).cells.set(`${cell.exporter} ${cell.opset}`, cell);
    }
    return [...rows.values()];
  }

  draw() {
    const grid = h("div", { role: "grid", "aria-label": "Status of every cell", className: "grid" });
    grid.append(this.head(), ...this.rows.map((row) => this.drawRow(row)));
    this.layout();
    this.grid = grid;
    this.place.replaceChildren(grid);
    this.current = this.squares[0];
    this.current.tabIndex = 0;
  }

  head() {
    this.exporterHeads = [];
    const exporters = h(
      "div",
      { role: "row", className: "row exporters" },
      h("span", { role: "columnheader", className: "label" }, "exporter"),
    );
    const opsets = h(
      "div",
      { role: "row", className: "row opsets" },
      h("span", { role: "columnheader", className: "label" }, "opset"),
    );
    for (const column of this.columns) {
      column.head = h(
        "span",
        {
          role: "columnheader",
          className: column.first ? "first" : "",
          "aria-label": `${column.exporter} opset ${column.opset}`,
        },
        `${column.opset}`,
      );
      opsets.append(column.head);
      if (column.first) {
        const head = h("span", { role: "columnheader", className: "first" }, column.exporter);
        this.exporterHeads.push([column.exporter, head]);
        exporters.append(head);
      }
    }
    return h("div", { role: "rowgroup", className: "head" }, exporters, opsets);
  }

  drawRow(row) {
    row.element = h(
      "div",
      { role: "row", className: "row" },
      h("span", { role: "rowheader", className: "label", title: row.label }, row.label),
    );
    for (const column of this.columns) {
      const cell = row.cells.get(column.key);
      const square = cell ? this.square(cell) : h("span", { role: "gridcell", className: "none" });
      if (column.first) square.classList.add("first");
      column.squares.push(square);
      row.element.append(square);
    }
    return row.element;
  }

  square(cell) {
    const square = h(
      "span",
      {
        role: "gridcell",
        tabIndex: -1,
        className: `square ${statusClass(cell)}`,
        "data-index": cell.index,
        "aria-label": `${cell.id}: ${statusText(cell)}`,
        title: `${cell.id}\n${statusText(cell)}`,
      },
      sign(cell),
    );
    this.squares[cell.index] = square;
    return square;
  }

  /** Show the cells that match: rows and columns without any go, others fade. */
  show(matches) {
    const shown = new Set(matches);
    const keys = new Set(matches.map((cell) => `${cell.exporter} ${cell.opset}`));
    for (const column of this.columns) {
      if (column.hidden === !keys.has(column.key)) continue;
      column.hidden = !column.hidden;
      for (const element of [column.head, ...column.squares]) element.hidden = column.hidden;
    }
    for (const row of this.rows) {
      let some = false;
      for (const cell of row.cells.values()) {
        const match = shown.has(cell);
        some ||= match;
        if (cell.faded === match) this.squares[cell.index].classList.toggle("faded", !match);
        cell.faded = !match;
      }
      if (row.hidden === some) row.element.hidden = row.hidden = !some;
    }
    if (matches.length && !shown.has(CELLS[this.current.dataset.index])) this.stop(this.squares[matches[0].index]);
    this.layout();
  }

  /** The widths of the columns, as wide as the exporter's name above them needs. */
  layout() {
    const longest = Math.max(...this.rows.map((row) => row.label.length), 0);
    const widths = [];
    const spans = new Map();
    for (const column of this.columns.filter((each) => !each.hidden))
      spans.set(column.exporter, (spans.get(column.exporter) || 0) + 1);
    for (const [exporter, span] of spans) {
      const width = Math.max(CELL_WIDTH, Math.ceil((exporter.length * LETTER_WIDTH + 8) / span));
      for (let at = 0; at < span; at++) widths.push(`${width + (at ? 0 : GAP)}px`);
    }
    this.place.style.setProperty("--label", `${Math.min(300, Math.max(90, longest * LETTER_WIDTH + 30))}px`);
    this.place.style.setProperty("--columns", widths.join(" "));
    for (const [exporter, head] of this.exporterHeads) {
      head.hidden = !spans.has(exporter);
      head.style.gridColumn = `span ${spans.get(exporter) || 1}`;
    }
  }

  /** Colour by status, or by how large a figure is among all cells; the lighter the smaller. */
  heat(name) {
    const figure = HEATS[name];
    const values = figure ? CELLS.map(figure).filter((value) => Number.isFinite(value) && value > 0) : [];
    const low = Math.log(Math.min(...values));
    const high = Math.log(Math.max(...values));
    this.place.classList.toggle("heat", Boolean(figure));
    CELLS.forEach((cell) => {
      const value = figure ? figure(cell) : null;
      const square = this.squares[cell.index];
      if (value === null || value === undefined) square.removeAttribute("data-heat");
      else if (value <= 0) square.dataset.heat = 0;
      else if (!Number.isFinite(value)) square.dataset.heat = HEAT_STEPS - 1;
      else
        square.dataset.heat =
          high > low ? Math.min(HEAT_STEPS - 1, Math.floor(((Math.log(value) - low) / (high - low)) * HEAT_STEPS)) : 0;
    });
  }

  pressed(target) {
    if (!target.dataset.index) return;
    this.focus(target);
    this.open(CELLS[target.dataset.index]);
  }

  key(event) {
    if (event.key === "Enter" || event.key === " ") this.pressed(event.target);
    else if (!this.move(event.target, event.key)) return;
    event.preventDefault();
  }

  move(from, key) {
    const steps = {
      ArrowRight: [0, 1],
      ArrowLeft: [0, -1],
      ArrowDown: [1, 0],
      ArrowUp: [-1, 0],
      Home: [0, -Infinity],
      End: [0, Infinity],
      PageDown: [10, 0],
      PageUp: [-10, 0],
    };
    if (!(key in steps) || !from.dataset.index) return false;
    const rows = this.rows.filter((row) => !row.hidden);
    const columns = this.columns.filter((column) => !column.hidden);
    const cell = CELLS[from.dataset.index];
    const [down, right] = steps[key];
    let y = rows.findIndex((row) => [...row.cells.values()].includes(cell));
    let x = columns.findIndex((column) => column.key === `${cell.exporter} ${cell.opset}`);
    y = Math.max(0, Math.min(rows.length - 1, y + down));
    x = Math.max(0, Math.min(columns.length - 1, x + right));
    const next = this.nearest(rows[y], columns, x, right < 0 ? -1 : 1);
    if (next) this.focus(this.squares[next.index]);
    return true;
  }

  /** The cell of a row at a column, or the next one that there is. */
  nearest(row, columns, x, direction) {
    const at = (place) => row.cells.get(columns[place].key);
    for (let step = 0; step < columns.length; step++) {
      for (const place of [x + step * direction, x - step * direction]) {
        if (place >= 0 && place < columns.length && at(place)) return at(place);
      }
    }
    return null;
  }

  focus(square) {
    this.stop(square);
    square.focus();
  }

  /** Where the Tab key stops. */
  stop(square) {
    this.current.tabIndex = -1;
    square.tabIndex = 0;
    this.current = square;
  }

  focusCell(cell) {
    this.focus(this.squares[cell.index]);
  }
}

/** Exporters in the order of the plan, the opsets of each ascending. */
function matrixColumns() {
  return distinct("exporter").flatMap((exporter) =>
    distinct(
      "opset",
      CELLS.filter((cell) => cell.exporter === exporter),
    )
      .sort((a, b) => a - b)
      .map((opset, at) => ({ exporter, opset, key: `${exporter} ${opset}`, first: at === 0, hidden: false, squares: [] })),
  );
}
