// Panels of what stands behind averages: every label alone, groups of studies, risk at each coverage.
function panels({ data, h, s, $, replace, breakable, option, style, ticks, measured, cell, having }) {
  const COVERAGES = [0.2, 0.4, 0.6, 0.8, 1];
  const sorted = {};
  const value = (cell) => (Array.isArray(cell) ? cell[0] : cell);
  const trials = (t, get) => t.rows.flatMap((row) => having(row, get).map((facts) => ({ row, facts, name: row.method + (facts.seed ? ` seed ${facts.seed}` : "") })));
  const choice = (id, values, text = String) => {
    const before = $(id).value;
    replace(id, values.map((each) => option(each, text(each), each === before)));
    return values.length;
  };

  // ---- a table that sorts by any column --------------------------------------------------------------------
  function shown(cell) {
    const number = value(cell);
    if (number === null || number === undefined) return h("td", {}, "–");
    if (!Array.isArray(cell)) return h("td", {}, Number.isInteger(number) ? String(number) : number.toFixed(3));
    const ends = cell.slice(1).every(Number.isFinite) ? h("span", { class: "ci" }, `[${cell.slice(1).map((end) => end.toFixed(3)).join(", ")}]`) : null;
    return h("td", {}, number.toFixed(3), ends);
  }
  function draw(id, caption, heads, lines, first) {
    // A sort stays while the same columns are shown; the first column holds names.
    const key = heads.join("\n");
    if (sorted[id]?.key !== key) sorted[id] = { key, by: first, down: true };
    const { by, down } = sorted[id];
    const at = (line) => (by === 0 ? line.name : value(line.cells[by - 1]));
    const ordered = [...lines].sort((a, b) => {
      const [x, y] = [at(a), at(b)];
      if ((x ?? null) === null || (y ?? null) === null) return ((x ?? null) === null) - ((y ?? null) === null);
      return (down ? -1 : 1) * (typeof x === "string" ? x.localeCompare(y) : x - y);
    });
    const press = (place) => {
      sorted[id] = { key, by: place, down: by === place ? !down : place > 0 };
      draw(id, caption, heads, lines, first);
      $(id).querySelectorAll("thead button")[place].focus();
    };
    const body = (control) => {
      const some = ordered.filter((line) => Boolean(line.control) === control);
      return some.length ? h("tbody", { class: control ? "controls" : null }, some.map((line) => h("tr", {}, h("th", { scope: "row" }, breakable(line.name)), line.cells.map(shown)))) : [];
    };
    replace(id, h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, heads.map((head, place) => h("th", { scope: "col", class: place ? null : "name", "aria-sort": place === by ? (down ? "descending" : "ascending") : "none" },
        h("button", { type: "button", on: { click: () => press(place) } }, breakable(head)))))),
      body(false), body(true));
  }

  // ---- labels ----------------------------------------------------------------------------------------------
  const SCORES = ["precision", "recall", "f1", "auroc", "auprc"];
  const labelled = (t) => (measured(t).some((name) => name.startsWith("auroc")) ? trials(t, (facts) => Object.keys(facts.labels || {}).length) : []);
  function drawLabels(t) {
    const all = labelled(t);
    $("labels").hidden = !choice("label-method", all.map(({ name }) => name));
    const one = all.find(({ name }) => name === $("label-method").value);
    if (!one) return;
    const lines = Object.entries(one.facts.labels).map(([name, own]) => ({ name, cells: [own.positives, ...SCORES.map((score) => own[score])] }));
    draw("label-grid", `${one.name}: every label alone`, ["label", "studies", ...SCORES], lines, 1);
    const thresholds = Object.entries(one.facts.thresholds || {}).map(([name, at]) => `${name} ${at.toFixed(2)}`).join(", ");
    replace("label-notes", h("p", {}, "Studies: test studies that have the label. Nothing missing. Brackets: 95 % intervals over patients; those of labels of fewer than 10 studies are too narrow."),
      thresholds ? h("p", {}, `Thresholds of f1_macro_tuned, chosen on validation: ${thresholds}.`) : []);
  }

  // ---- groups of studies -----------------------------------------------------------------------------------
  function grouped(t) {
    return trials(t, (facts) => Object.values(facts.subgroups || {}).some((own) => Object.keys(own.metrics).some((name) => measured(t).includes(name))));
  }
  function drawGroups(t) {
    const all = grouped(t);
    const attributes = [...new Set(all.flatMap(({ facts }) => Object.keys(facts.subgroups)))];
    $("groups").hidden = !choice("group-attribute", attributes);
    const members = all.map((each) => ({ ...each, own: each.facts.subgroups[$("group-attribute").value] })).filter(({ own }) => own);
    choice("group-metric", measured(t).filter((name) => members.some(({ own }) => own.metrics[name])));
    const metric = $("group-metric").value;
    const lines = members.filter(({ own }) => own.metrics[metric]);
    if (!lines.length) return;
    const { studies, patients } = lines[0].own;
    const names = Object.keys(lines[0].own.metrics[metric].groups);
    const small = Object.entries(patients).filter(([name, count]) => count && !names.includes(name)).map(([name, count]) => `${name} (${count} patients)`);
    draw("group-grid", `${metric} by ${$("group-attribute").value}`, ["method", ...names.map((name) => `${name} (n ${studies[name]})`), "gap"],
      lines.map(({ row, name, own }) => ({ name, control: row.control, cells: [...names.map((group) => own.metrics[metric].groups[group]), own.metrics[metric].gap] })), names.length + 1);
    replace("group-notes", h("p", {}, "Gap: largest less smallest value of the groups, from resamples that all groups share; its interval begins at 0 where chance alone may have made the gap. Nothing missing."),
      small.length ? h("p", {}, `Groups of fewer than 10 patients have no numbers: ${small.join(", ")}.`) : []);
  }

  // ---- risk at each coverage -------------------------------------------------------------------------------
  let hidden = new Set();
  let ofTable = null;
  function risks(row, state) {
    const curves = having(row, (facts) => facts.risk_coverage?.[state]).map((facts) => facts.risk_coverage[state]);
    return curves.length ? curves[0].map((_, place) => curves.reduce((sum, curve) => sum + curve[place], 0) / curves.length) : null;
  }
  function area(t, row, curve, state) {
    // Of everything at once the table has the exact number; else trapezoids between the stored coverages.
    const exact = state === "full" ? cell(row, "aurc", 0)?.value : null;
    return exact ?? curve.reduce((sum, risk, place) => sum + (risk + curve[Math.max(0, place - 1)]) / 2, 0) / curve.length;
  }
  function drawRisk(t, state) {
    const curves = measured(t).includes("aurc") ? t.rows.map((row) => ({ row, curve: risks(row, state) })).filter(({ curve }) => curve) : [];
    for (const each of curves) each.area = area(t, each.row, each.curve, state);
    $("risk").hidden = !curves.length;
    if (!curves.length) return;
    if (ofTable !== t) {
      ofTable = t;
      hidden = new Set(t.rows.map((row) => row.method).filter((name) => name.includes("+shuffled-image")));
    }
    replace("risk-legend", curves.map(({ row, area: height }) => h("button", { type: "button", class: style(t, row), "aria-pressed": String(!hidden.has(row.method)), on: { click: (event) => toggle(t, state, row, event) } },
      s("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, s("line", { class: `line ${style(t, row)}`, x1: 0, x2: 26, y1: 5, y2: 5 })), `${row.method} ${height.toFixed(3)}`)));
    plot(t, state, curves.filter(({ row }) => !hidden.has(row.method)));
    draw("risk-grid", "risk at each coverage", ["method", "area", ...COVERAGES.map((share) => `${100 * share} %`)],
      curves.map(({ row, curve, area: height }) => ({ name: row.method, control: row.control, cells: [height, ...COVERAGES.map((share) => curve[Math.round(share * curve.length) - 1])] })), 1);
  }
  function toggle(t, state, row, event) {
    if (!hidden.delete(row.method)) hidden.add(row.method);
    const place = [...$("risk-legend").children].indexOf(event.currentTarget);
    drawRisk(t, state);
    $("risk-legend").children[place].focus();
  }
  function plot(t, state, curves) {
    const width = Math.max(300, Math.min(720, $("risk-plot").clientWidth || 720));
    const height = width < 500 ? 280 : 340;
    const [left, right, top, bottom] = [52, 16, 14, 44];
    const steps = ticks(0, Math.max(0.01, ...curves.flatMap(({ curve }) => curve)));
    const x = (share) => left + share * (width - left - right);
    const y = (risk) => height - bottom - (risk / steps[steps.length - 1]) * (height - top - bottom);
    const line = ({ row, curve }) => s("g", { class: style(t, row).split(" ")[0] + (row.control ? " control" : "") },
      s("polyline", { class: `line ${style(t, row)}`, points: curve.map((risk, place) => `${x((place + 1) / curve.length)},${y(risk)}`).join(" ") }, s("title", {}, row.method)));
    replace("risk-plot", s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Risk against coverage, ${state === "full" ? "nothing" : state} missing: ${curves.map(({ row, area: each }) => `${row.method} ${each.toFixed(3)}`).join(", ")}` },
      steps.map((at) => [s("line", { class: "grid", x1: left, x2: width - right, y1: y(at), y2: y(at) }), s("text", { x: left - 8, y: y(at) + 4, "text-anchor": "end" }, String(at))]),
      [0, ...COVERAGES].map((share) => s("text", { x: x(share), y: height - bottom + 18, "text-anchor": "middle" }, String(share))),
      s("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, "coverage: share of the studies, most confident first"), curves.map(line)));
  }
  return { drawLabels, drawGroups, drawRisk };
}
