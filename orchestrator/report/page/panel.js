"use strict";
// What is known of one cell, in a dialog that is filled when it is opened.

const SHOWN_GRAPHS = 8;

class Panel {
  constructor(dialog, others, closed) {
    this.dialog = dialog;
    this.others = others;
    this.closed = closed;
    dialog.addEventListener("close", () => this.left());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  open(cell) {
    this.cell = cell;
    const plots = { probes: h("div", { className: "plot" }), opsets: h("div", { className: "plot" }) };
    this.dialog.replaceChildren(this.head(cell), h("div", { className: "body" }, ...sections(cell, plots)));
    if (!this.dialog.open) {
      this.fromMatrix = document.activeElement.classList.contains("square");
      this.dialog.showModal();
    }
    this.dialog.querySelector(".body").scrollTop = 0;
    this.dialog.querySelector("h2").focus();
    if (plots.probes.isConnected) probePlot(cell, plots.probes);
    if (plots.opsets.isConnected) opsetPlot(cell, plots.opsets);
    const hash = `#${encodeURIComponent(cell.id)}`;
    if (location.hash !== hash) history.replaceState(null, "", hash);
  }

  head(cell) {
    const others = this.others();
    const at = others.indexOf(cell);
    const step = (name, to) =>
      h("button", { type: "button", disabled: !others[to], onclick: () => this.open(others[to]) }, name);
    return h(
      "header",
      {},
      h("h2", { id: "panel-title", tabIndex: -1 }, badge(cell), h("span", {}, cell.id), " ", h("small", {}, statusText(cell))),
      h(
        "nav",
        { "aria-label": "Other cells" },
        step("Previous", at - 1),
        step("Next", at + 1),
        h("button", { type: "button", onclick: () => this.dialog.close() }, "Close"),
      ),
    );
  }

  left() {
    history.replaceState(null, "", location.pathname + location.search);
    // Elsewhere the browser itself returns to where the panel was opened from.
    if (this.fromMatrix) this.closed(this.cell);
  }
}

function sections(cell, plots) {
  const exhibit = DATA.exhibits[cell.id] || {};
  const measured = siblings(cell).some((other) => other.share !== null);
  return [
    facts(cell),
    cell.problems.length &&
      section(
        isKnown(cell) ? "What is known to fail" : "What happened",
        ...cell.problems.map((line) => h("p", { className: "problem" }, line)),
        nextStep(cell),
      ),
    cell.checks.length && section("Checks", checkTable(cell)),
    probesOf(cell).some(([, , threshold]) => threshold !== null) &&
      section(
        "Error over probes and sizes",
        h("p", { className: "meta" }, "Share of the bound; below 100 % it passes. Dashed: other exporters at the same opset."),
        plots.probes,
      ),
    measured &&
      section(
        "Error over opsets",
        h("p", { className: "meta" }, `The worst of all checks of ${cell.model}, by opset. Dashed: other exporters.`),
        plots.opsets,
      ),
    section("Time", durationBar(cell), h("p", { className: "meta" }, timeText(cell))),
    cell.operators && section("Operators", operatorTable(cell)),
    cell.values && section("Interface", valueTable(cell)),
    cell.findings.length && section("Findings", h("ul", { className: "findings" }, ...cell.findings.map(finding))),
    section("Files", ...files(cell)),
    exhibit.log && section("End of the log", h("pre", { tabIndex: 0, "aria-label": "End of the log" }, exhibit.log)),
    exhibit.script &&
      section(
        "Script that repeats it",
        h(
          "details",
          {},
          h("summary", {}, `repro.py, ${exhibit.script.split("\n").length} lines`),
          h("pre", { tabIndex: 0, "aria-label": "repro.py" }, exhibit.script),
        ),
      ),
  ].filter(Boolean);
}

function section(title, ...children) {
  return h("section", {}, h("h3", {}, title), ...children);
}

function facts(cell) {
  const pairs = [
    ["model", cell.model],
    ["exporter", cell.exporter],
    ["opset", opsetText(cell)],
    ["dtype", cell.dtype],
    ["target", cell.target],
    ["swept", cell.swept],
    ["made", cell.made_from],
    ["latency", cell.speed],
    ["beside", cell.beside.join("; ")],
    ["size", cell.size],
    ["outcome from", { ran: "this run", cache: "the cache", resumed: "before the run was resumed" }[cell.origin]],
    ["why exported", cell.why],
  ];
  return h(
    "dl",
    { className: "facts" },
    ...pairs.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

function nextStep(cell) {
  return (
    !cell.expected && cell.cause !== null && h("p", { className: "next" }, h("b", {}, "Next"), ` ${DATA.next[cell.cause]}`)
  );
}

function table(heads, rows, className = "") {
  const head = h("tr", {}, ...heads.map(([text, kind]) => h("th", { scope: "col", className: kind || "" }, text)));
  return h(
    "div",
    { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Table" },
    h("table", { className }, h("thead", {}, head), h("tbody", {}, ...rows)),
  );
}

function checkTable(cell) {
  const rows = cell.checks.map((check) => {
    const [id, status, detail, measured, threshold, seconds, sharedWith] = check;
    const share = shareOf(check);
    const sign = { passed: "✓", finding: "!", not_applicable: "–" }[status] || "✘";
    return h(
      "tr",
      { className: `check ${status}` },
      h("th", { scope: "row" }, h("span", { className: "sign", "aria-hidden": "true" }, sign), ` ${id}`),
      h("td", {}, status.replace("_", " ")),
      h(
        "td",
        { className: "figure" },
        share === null ? "" : `${measured === null ? "∞" : figureText(measured)} of ${figureText(threshold)}`,
      ),
      h("td", { className: "figure" }, share === null ? "" : [shareBar(share), ` ${shareText(share)}`]),
      h("td", { className: "figure" }, secondsText(seconds)),
      h(
        "td",
        { className: "detail" },
        detail,
        sharedWith && h("span", { className: "shared" }, "as measured on ", cellLink(sharedWith)),
      ),
    );
  });
  return table(
    [["check"], ["status"], ["error of bound", "figure"], ["share", "figure"], ["time", "figure"], ["", "detail"]],
    rows,
    "checks",
  );
}

function cellLink(id) {
  return h("a", { href: `#${encodeURIComponent(id)}` }, id);
}

function timeText(cell) {
  const parts = [
    cell.origin === "ran"
      ? `Total ${secondsText(cell.durations.total) || "unknown"}`
      : `Total ${secondsText(cell.durations.total) || "unknown"}, when it was done`,
  ];
  if (cell.memory) parts.push(`peak memory ${cell.memory}`);
  if (cell.attempts > 1) parts.push(`${cell.attempts} attempts`);
  return `${parts.join(", ")}. Stages that cells of one capture share are given whole to each.`;
}

/** The graphs of this model that differ in their operators, this cell's first: `dynamo 18, 20`. */
function graphs(cell) {
  const found = new Map();
  for (const other of [cell, ...siblings(cell)].filter((each) => each.operators)) {
    const key = JSON.stringify(Object.entries(other.operators).sort());
    if (!found.has(key)) found.set(key, { operators: other.operators, by: new Map() });
    const by = found.get(key).by;
    if (!by.has(other.exporter)) by.set(other.exporter, new Set());
    by.get(other.exporter).add(other.opset);
  }
  return [...found.values()];
}

function operatorTable(cell) {
  const all = graphs(cell);
  const shown = all.slice(0, SHOWN_GRAPHS);
  const names = [...new Set(shown.flatMap((graph) => Object.keys(graph.operators)))];
  const count = (graph, name) => graph.operators[name] || 0;
  names.sort((a, b) => count(shown[0], b) - count(shown[0], a) || (a < b ? -1 : 1));
  const most = Math.max(...names.map((name) => count(shown[0], name)));
  const rows = names.map((name) => {
    const own = count(shown[0], name);
    const bar = h("span", { className: "count", "aria-hidden": "true" });
    bar.style.width = `${(own / most) * 60}px`;
    const differs = shown.some((graph) => count(graph, name) !== own);
    const numbers = shown
      .slice(1)
      .map((graph) =>
        h(
          "td",
          { className: count(graph, name) === own ? "figure same" : "figure differs" },
          difference(count(graph, name), own),
        ),
      );
    return h(
      "tr",
      { className: differs ? "differs" : "" },
      h("th", { scope: "row" }, name),
      h("td", { className: "figure" }, `${own}`),
      h("td", {}, bar),
      ...numbers,
    );
  });
  const title = (graph) =>
    [...graph.by].map(([exporter, opsets]) => `${exporter} ${[...opsets].sort((a, b) => a - b).join(", ")}`).join("; ");
  const heads = [["operator"], [title(shown[0]), "figure"], [""], ...shown.slice(1).map((graph) => [title(graph), "figure"])];
  const types = Object.keys(cell.operators).length;
  const total = types === 1 ? "1 operator type" : `${types} operator types`;
  const text =
    all.length === 1
      ? "the same in every cell of this model"
      : `${all.length} different graphs of this model${all.length > shown.length ? `, the first ${shown.length} of them here` : ""}`;
  return h(
    "div",
    {},
    h("p", { className: "meta" }, `${operatorCount(cell)} nodes, ${total}; ${text}.`),
    table(heads, rows, "operators"),
  );
}

function difference(other, own) {
  if (other === own) return "=";
  return `${other} (${other > own ? "+" : "−"}${Math.abs(other - own)})`;
}

function valueTable(cell) {
  const rows = cell.values.map(([kind, name, dtype, shape]) =>
    h("tr", {}, h("td", {}, kind), h("th", { scope: "row" }, name), h("td", {}, dtype), h("td", {}, `[${shape}]`)),
  );
  return table([[""], ["name"], ["dtype"], ["shape"]], rows);
}

function finding([kind, message, source]) {
  return h(
    "li",
    {},
    h("b", {}, kind.replaceAll("_", " ")),
    ` ${message}`,
    source && h("code", { className: "source" }, source),
  );
}

function files(cell) {
  const link = (path) => h("a", { href: path.split("/").map(encodeURIComponent).join("/") }, path);
  const lines = [];
  if (cell.path) lines.push(["artifact", link(cell.path)]);
  if (cell.sha256) lines.push(["SHA-256", h("code", {}, cell.sha256)]);
  if (cell.folder) {
    lines.push(["folder", link(cell.folder)]);
    if (cell.log) lines.push(["log", link(cell.log)]);
    lines.push(["repeat", h("code", {}, `python ${cell.folder}/repro.py`)]);
  }
  if (!lines.length) return [h("p", { className: "meta" }, "None in this run folder.")];
  return [
    h("dl", { className: "files" }, ...lines.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h("p", { className: "meta" }, "Paths are relative to the run folder."),
  ];
}
