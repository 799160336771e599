"use strict";
// Draws the page from the data it carries. Everything foreign goes through textContent: it stays text.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const COSTS = [
    ["parameters", "parameters", count],
    ["flops", "FLOPs", count],
    ["training_seconds", "training time", duration],
    ["seconds_per_study", "seconds per study", (value) => value.toPrecision(2)],
    ["peak_memory_gib", "peak memory", (value) => value.toFixed(2) + " GiB"],
    ["device", "device", String],
  ];
  const view = { table: 0, rate: null, shown: new Set(), rankBy: null, sort: null, down: true, curve: null, off: new Set() };

  // ---- building blocks -------------------------------------------------------------------------------------
  function node(space, tag, attributes, children) {
    const made = space ? document.createElementNS(space, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
      else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    for (const child of children.flat(Infinity)) if (child !== null && child !== undefined) made.append(child);
    return made;
  }
  const h = (tag, attributes, ...children) => node(null, tag, attributes, children);
  const s = (tag, attributes, ...children) => node(SVG, tag, attributes, children);
  const breakable = (text) => text.split(/(?<=[_+:])/).flatMap((part) => [part, h("wbr")]);
  const option = (value, text, chosen) => h("option", { value, selected: chosen }, text);
  const replace = (id, ...children) => $(id).replaceChildren(...children.flat(Infinity));

  function count(value) {
    for (const [scale, unit] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]])
      if (value >= scale) return Number((value / scale).toPrecision(3)) + unit;
    return String(value);
  }
  function duration(seconds) {
    if (seconds < 60) return seconds.toFixed(1) + " s";
    const minutes = Math.round(seconds / 60);
    return minutes < 60 ? minutes + " min" : Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
  }

  // ---- what the data say -----------------------------------------------------------------------------------
  const table = () => data.tables[view.table];
  const measured = (t) => [...t.metrics, ...(t.others || [])];
  const ranked = (row) => !row.control && row.audit !== "failed";
  const lower = (t, metric) => (t.lower_is_better || []).includes(metric);
  function cell(row, metric, rate) {
    return Object.entries(row.numbers[metric] || {}).find(([key]) => Number(key) === rate)?.[1];
  }
  const worth = (number) => (number && Number.isFinite(number.value) ? number.value : null);
  function rates(t) {
    const found = new Set([0]);
    for (const row of t.rows) for (const each of Object.values(row.numbers)) for (const key of Object.keys(each)) found.add(Number(key));
    return [...found].sort((a, b) => a - b);
  }
  const rateText = (t, rate) => (t.rate_headings || {})[rate] || String(rate);
  function titleOf(t) {
    return `${t.dataset}, ${t.n} test studies, ${t.drop} missing (${t.mechanism})` + (t.apart ? `, ${t.apart}` : "") + (t.group ? `: ${t.group}` : "");
  }
  function written(number, ends = true) {
    const value = worth(number);
    if (value === null) return !number ? "" : number.status && number.status !== "ok" ? number.status : "undefined";
    return value.toFixed(3) + (ends && number.ci95 ? ` [${number.ci95.map((end) => end?.toFixed(3)).join(", ")}]` : "");
  }
  function marks(t, metric, rate) {
    const found = t.rows.filter(ranked).map((row) => [row.method, worth(cell(row, metric, rate))]).filter((pair) => pair[1] !== null);
    if (found.length < 2 || (t.undirected || []).includes(metric)) return new Map();
    const order = [...new Set(found.map((pair) => pair[1].toFixed(3)))].sort((a, b) => (lower(t, metric) ? a - b : b - a));
    return new Map(found.map(([name, value]) => [name, order.indexOf(value.toFixed(3)) + 1]).filter((pair) => pair[1] < 3));
  }
  function style(t, row) {
    // A method and its shuffled-image control share a colour; the dashes tell them, and repeated colours, apart.
    const base = row.method.replace("+shuffled-image", "");
    const names = [...new Set(t.rows.map((each) => each.method.replace("+shuffled-image", "")))];
    const index = names.indexOf(base);
    const dash = row.method === base ? (index > 7 ? 3 : row.control ? 1 : 0) : 2;
    return `s${index % 8} d${dash}`;
  }

  // ---- the table -------------------------------------------------------------------------------------------
  function columns(t) {
    const metrics = measured(t).filter((name) => view.shown.has(name));
    const found = [{ key: "rank", head: "rank", text: (row) => rankText(t, row), value: (row) => height(t, row), up: true }];
    found.push({ key: "method", head: "method", value: (row) => row.method, up: true });
    for (const metric of metrics)
      found.push({ key: metric, head: metric, metric, value: (row) => worth(cell(row, metric, view.rate)), up: lower(t, metric) });
    if ($("costs").checked)
      for (const [key, head, say] of COSTS)
        found.push({ key, head, text: (row) => ((row.cost || {})[key] ? say(row.cost[key]) : "–"), value: (row) => (row.cost || {})[key] ?? null, up: true });
    found.push({ key: "audit", head: "audit", text: (row) => row.audit || "not audited", value: (row) => row.audit || "not audited", up: true });
    return found;
  }
  function rankText(t, row) {
    if (row.audit === "failed") return "–";
    return rangeText(cell(row, view.rankBy, view.rate)) || "–";
  }
  function rangeText(number) {
    const [best, worst] = number?.ranks || [];
    return best === undefined ? "" : best === worst ? String(best) : `${best}-${worst}`;
  }
  function height(t, row) {
    // Ranges overlap: the column of ranks sorts by the value, best first.
    const number = cell(row, view.rankBy, view.rate);
    if (!number?.ranks || worth(number) === null) return null;
    return lower(t, view.rankBy) ? number.value : -number.value;
  }
  function ordered(rows, column) {
    const sign = view.down ? -1 : 1;
    return [...rows].sort((a, b) => {
      const [x, y] = [column.value(a), column.value(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
    });
  }
  function numberCell(t, row, metric, found) {
    const number = cell(row, metric, view.rate);
    if (worth(number) === null) {
      const status = written(number);
      return h("td", { class: "state " + (status === "failed" ? "failed" : ""), title: number?.detail }, status);
    }
    const mark = found.get(row.method);
    const text = number.value.toFixed(3);
    const shown = mark === 1 ? h("strong", {}, text, h("span", { class: "hidden" }, " best")) : mark === 2 ? h("u", {}, text, h("span", { class: "hidden" }, " second best")) : text;
    const ends = $("intervals").checked && number.ci95 ? h("span", { class: "ci" }, written(number).slice(text.length + 1)) : null;
    const spread = number.seed_sd !== undefined && $("intervals").checked ? h("span", { class: "ci" }, `sd ${number.seed_sd.toFixed(3)}`) : null;
    return h("td", { title: number.ranks ? `rank ${rangeText(number)} by ${metric}` : null }, shown, ends, spread);
  }
  function drawTable() {
    const t = table();
    const all = columns(t);
    const sorted = all.find((column) => column.key === view.sort) || all[0];
    const notes = [...new Set(all.filter((c) => c.metric).map((c) => t.signatures[c.metric]))];
    const heads = all.map((column) => {
      const direction = column === sorted ? (view.down ? "descending" : "ascending") : "none";
      const note = column.metric ? h("sup", {}, h("a", { href: `#note-${notes.indexOf(t.signatures[column.metric]) + 1}`, "aria-label": `signature of ${column.metric}` }, String(notes.indexOf(t.signatures[column.metric]) + 1))) : null;
      const way = column.metric && lower(t, column.metric) ? h("span", { class: "way" }, "lower is better") : null;
      return h("th", { scope: "col", "aria-sort": direction, class: column.key === "method" ? "name" : column.key === "rank" ? "rank" : null },
        h("button", { type: "button", on: { click: () => sortBy(column) } }, breakable(column.head)), note, way);
    });
    const wanted = $("filter").value.trim().toLowerCase();
    const fits = (row) => row.method.toLowerCase().includes(wanted);
    const found = new Map(all.filter((c) => c.metric).map((c) => [c.metric, marks(t, c.metric, view.rate)]));
    const line = (row) => h("tr", { class: row.audit === "failed" ? "unranked" : null }, all.map((column) => {
      if (column.key === "method") return h("th", { scope: "row" }, h("a", { href: `#${cardId(row)}`, on: { click: () => open(row) } }, breakable(row.method)));
      if (column.metric) return numberCell(t, row, column.metric, found.get(column.metric));
      const text = column.text(row);
      return h("td", { class: (column.key === "rank" ? "rank " : "") + (column.key === "audit" && text === "failed" ? "bad" : "") }, text);
    }));
    const methods = ordered(t.rows.filter((row) => !row.control && fits(row)), sorted);
    const controls = $("bands").checked ? ordered(t.rows.filter((row) => row.control && fits(row)), sorted) : [];
    const band = h("tr", {}, h("th", { scope: "rowgroup", colspan: all.length }, "Controls: what a learned method has to beat"));
    replace("grid", h("caption", { class: "hidden" }, `${titleOf(t)}, at missing rate ${view.rate}`), h("thead", {}, h("tr", {}, heads)),
      h("tbody", {}, methods.map(line)), controls.length ? h("tbody", { class: "controls" }, band, controls.map(line)) : []);
    $("leaderboard-title").textContent = `${titleOf(t)}, at missing rate ${view.rate}`;
    $("status").textContent = `${methods.length + controls.length} rows, sorted by ${sorted.head}, ${view.down ? "descending" : "ascending"}`;
    drawNotes(t, notes, all);
  }
  function sortBy(column) {
    view.down = view.sort === column.key ? !view.down : !column.up;
    view.sort = column.key;
    if (column.metric) view.rankBy = column.metric;
    drawTable();
    const buttons = [...document.querySelectorAll("#grid thead button")];
    buttons[columns(table()).findIndex((each) => each.key === column.key)].focus();
  }
  function drawNotes(t, notes, all) {
    const shown = all.filter((c) => c.metric).map((c) => c.metric);
    const lines = [];
    for (const [name, remark] of Object.entries(t.remarks || {})) if (shown.includes(name)) lines.push(`${name}: ${remark}`);
    for (const [name, reason] of Object.entries(t.unavailable || {})) lines.push(`${name} unavailable: ${reason}`);
    if ((t.absent || []).length) lines.push(`not measured: ${t.absent.join(", ")}`);
    lines.push(...(t.taken || []), ...(t.beside || []));
    for (const row of t.rows.filter((each) => !each.control)) lines.push(...(row.dead_parts || []).map((part) => `${row.method}: a part does next to nothing: ${part}`));
    for (const row of t.rows) {
      const failed = Object.values(row.numbers).flatMap((each) => Object.values(each)).find((number) => number.status === "failed");
      if (failed) lines.push(`${row.method} failed: ${failed.detail || "no reason stored"}`);
    }
    const seeds = t.seeds > 1 ? ` Means over up to ${t.seeds} seeds; sd is over seeds, and intervals cover them.` : "";
    const costs = $("costs").checked ? " FLOPs: a training forward pass on one study (of methods that leave parts behind when training ends, of inference), a multiply-add counting as two. Peak memory: while training; on a CPU, of the whole process." : "";
    replace("notes",
      h("p", {}, `Rank: by ${view.rankBy} at missing rate ${view.rate}; a range holds the places that the test set leaves open to a method, from all paired differences at once (bootstrap, max-t, 95 %). `, h("strong", {}, "Best"), " and ", h("u", {}, "second best"), ` among the ranked methods. Brackets: 95 % intervals.${seeds}${costs}`),
      h("ol", {}, notes.map((signature, index) => h("li", { id: `note-${index + 1}` }, h("code", {}, signature)))),
      lines.length ? h("ul", {}, lines.map((text) => h("li", {}, text))) : []);
  }

  // ---- curves ----------------------------------------------------------------------------------------------
  const WIDE = { left: 52, right: 16, top: 14, bottom: 44 };
  function ticks(low, high) {
    const raw = (high - low) / 5 || 0.1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((times) => times * power).find((each) => each >= raw);
    const found = [];
    for (let at = Math.floor(low / step); at <= Math.ceil(high / step); at++) found.push(Number((at * step).toPrecision(12)));
    return found;
  }
  function curvesOf(t) {
    return t.rows.map((row) => ({ row, points: rates(t).map((rate) => ({ rate, number: cell(row, view.curve, rate) })).filter((point) => worth(point.number) !== null) }))
      .filter((curve) => curve.points.length);
  }
  function drawCurves() {
    const t = table();
    const curves = curvesOf(t);
    replace("legend", curves.map(({ row }) => h("button", { type: "button", class: style(t, row), "aria-pressed": String(!view.off.has(row.method)), on: { click: (event) => toggle(row, event) } },
      s("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, s("line", { class: `line ${style(t, row)}`, x1: 0, x2: 26, y1: 5, y2: 5 })), row.method)));
    const shown = curves.filter(({ row }) => !view.off.has(row.method));
    const width = Math.max(300, Math.min(1240, $("plot").clientWidth || 900));
    const height = width < 500 ? 300 : 380;
    const ends = shown.flatMap(({ points }) => points.flatMap(({ number }) => [number.value, ...(number.ci95 || [])])).filter(Number.isFinite);
    const steps = ticks(Math.min(...(ends.length ? ends : [0])), Math.max(...(ends.length ? ends : [1])));
    const xs = rates(t);
    const last = xs[xs.length - 1] || 1;
    const x = (rate) => WIDE.left + (rate / last) * (width - WIDE.left - WIDE.right);
    const y = (value) => height - WIDE.bottom - ((value - steps[0]) / (steps[steps.length - 1] - steps[0])) * (height - WIDE.top - WIDE.bottom);
    const cross = s("line", { class: "cross", y1: WIDE.top, y2: height - WIDE.bottom });
    const image = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `${view.curve} over missing rates, ${shown.length} curves` },
      steps.map((at) => [s("line", { class: "grid", x1: WIDE.left, x2: width - WIDE.right, y1: y(at), y2: y(at) }), s("text", { x: WIDE.left - 8, y: y(at) + 4, "text-anchor": "end" }, String(at))]),
      xs.map((rate) => s("text", { x: x(rate), y: height - WIDE.bottom + 18, "text-anchor": "middle" }, String(rate))),
      s("text", { x: (WIDE.left + width - WIDE.right) / 2, y: height - 8, "text-anchor": "middle" }, `missing rate (${t.drop}, ${t.mechanism})${t.axis ? `; ${t.axis}` : ""}`),
      cross, shown.map((curve) => drawCurve(t, curve, x, y)));
    image.addEventListener("pointermove", (event) => hover(event, image, shown, xs, x, cross, width));
    image.addEventListener("pointerleave", () => { hideTip(); cross.style.visibility = "hidden"; });
    replace("plot", image);
    drawCurveGrid(t, curves);
  }
  function drawCurve(t, { row, points }, x, y) {
    const banded = points.filter(({ number }) => (number.ci95 || []).every(Number.isFinite) && number.ci95);
    const edge = [...banded.map(({ rate, number }) => `${x(rate)},${y(number.ci95[1])}`), ...banded.reverse().map(({ rate, number }) => `${x(rate)},${y(number.ci95[0])}`)];
    return s("g", { class: style(t, row).split(" ")[0] + (row.control ? " control" : "") },
      s("polygon", { class: "band", points: edge.join(" ") }),
      s("polyline", { class: `line ${style(t, row)}`, points: points.map(({ rate, number }) => `${x(rate)},${y(number.value)}`).join(" ") }),
      points.map(({ rate, number }) => {
        const text = `${row.method}, missing rate ${rate}: ${view.curve} ${written(number)}`;
        const dot = s("circle", { class: "point", cx: x(rate), cy: y(number.value), r: 4.5, tabindex: 0, role: "img", "aria-label": text });
        dot.addEventListener("focus", () => { const box = dot.getBoundingClientRect(); tip([[text, ""]], box.right, box.top); });
        dot.addEventListener("blur", hideTip);
        return dot;
      }));
  }
  function hover(event, image, shown, xs, x, cross, width) {
    const box = image.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * width;
    const rate = xs.reduce((best, each) => (Math.abs(x(each) - at) < Math.abs(x(best) - at) ? each : best), xs[0]);
    cross.setAttribute("x1", x(rate)); cross.setAttribute("x2", x(rate)); cross.style.visibility = "visible";
    const lines = shown.map(({ row, points }) => [row.method, points.find((point) => point.rate === rate)?.number]).filter((line) => line[1]);
    lines.sort((a, b) => b[1].value - a[1].value);
    tip([[`${view.curve} at missing rate ${rate}`, ""], ...lines.map(([name, number]) => [name, written(number)])], event.clientX + 14, event.clientY + 14);
  }
  function tip(lines, left, top) {
    const box = $("tip");
    box.replaceChildren(...lines.map(([name, value]) => h("div", {}, h("span", {}, name), h("span", {}, value))));
    box.hidden = false;
    box.style.left = Math.max(6, Math.min(left, innerWidth - box.offsetWidth - 8)) + "px";
    box.style.top = Math.max(6, Math.min(top, innerHeight - box.offsetHeight - 8)) + "px";
  }
  const hideTip = () => { $("tip").hidden = true; };
  function toggle(row, event) {
    if (!view.off.delete(row.method)) view.off.add(row.method);
    const index = [...$("legend").children].indexOf(event.currentTarget);
    drawCurves();
    $("legend").children[index].focus();
  }
  function area(points) {
    // Mean height over the range of rates, by trapezoids.
    const span = points[points.length - 1].rate - points[0].rate;
    const sum = points.slice(1).reduce((total, { rate, number }, index) => total + ((number.value + points[index].number.value) / 2) * (rate - points[index].rate), 0);
    return span > 0 ? sum / span : points[0].number.value;
  }
  function kept(t, points, top) {
    const [first, last] = [points[0], points[points.length - 1]];
    return lower(t, view.curve) || first.rate !== 0 || last.rate !== top || first.number.value <= 0 ? "–" : `${((100 * last.number.value) / first.number.value).toFixed(0)} %`;
  }
  function drawCurveGrid(t, curves) {
    const xs = rates(t);
    const ends = [["mean over rates", ({ points }) => area(points).toFixed(3)], [`kept at ${xs[xs.length - 1]}`, ({ points }) => kept(t, points, xs[xs.length - 1])]];
    replace("curve-grid", h("caption", { class: "hidden" }, `${view.curve} over missing rates`),
      h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "name" }, "method"), xs.map((rate) => h("th", { scope: "col" }, rateText(t, rate))), ends.map(([head]) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, curves.map((curve) => h("tr", {}, h("th", { scope: "row" }, breakable(curve.row.method)), xs.map((rate) => h("td", {}, written(cell(curve.row, view.curve, rate)))), ends.map(([, say]) => h("td", {}, say(curve)))))));
  }

  // ---- reliability -----------------------------------------------------------------------------------------
  function having(row, get) {
    // Several drop policies share a trained method, which counts once; several seeds are several of them.
    return [...new Map((row.keys || []).map((key) => data.results[key]).filter((facts) => facts && get(facts)).map((facts) => [`${facts.cell} ${facts.seed}`, facts])).values()];
  }
  function binsOf(row, state) {
    const found = having(row, (facts) => facts.reliability?.[state]).map((facts) => facts.reliability[state]);
    if (!found.length) return null;
    return Object.fromEntries(["count", "confidence", "correct"].map((part) => [part, found[0][part].map((_, bin) => found.reduce((sum, each) => sum + each[part][bin], 0))]));
  }
  function statesOf(t) {
    return [...new Set(t.rows.flatMap((row) => (row.keys || []).flatMap((key) => Object.keys({ ...data.results[key]?.reliability, ...data.results[key]?.risk_coverage }))))];
  }
  function drawReliability() {
    const t = table();
    const figures = t.rows.map((row) => [row, binsOf(row, $("state").value)]).filter((pair) => pair[1]).map(([row, bins]) => diagram(t, row, bins));
    $("reliability").hidden = !figures.length || !measured(t).some((name) => /^(ece|aurc)/.test(name));
    replace("diagrams", figures);
    parts.drawRisk(t, $("state").value);
  }
  function diagram(t, row, bins) {
    const total = bins.count.reduce((sum, each) => sum + each, 0);
    const ece = bins.confidence.reduce((sum, sure, bin) => sum + Math.abs(sure - bins.correct[bin]), 0) / total;
    const x = (share) => 34 + share * 196;
    const y = (share) => 208 - share * 196;
    const most = Math.max(...bins.count);
    const width = 196 / bins.count.length;
    const text = `ECE ${ece.toFixed(3)} over ${total.toLocaleString("en")} judgements`;
    const filled = bins.count.map((n, bin) => ({ n, bin, sure: bins.confidence[bin] / n, right: bins.correct[bin] / n })).filter(({ n }) => n > 0);
    return h("figure", { class: `diagram ${style(t, row).split(" ")[0]}` },
      h("figcaption", {}, h("b", {}, breakable(row.method)), h("br"), h("span", { class: "soft" }, text)),
      s("svg", { viewBox: "0 0 240 296", role: "img", "aria-label": `Reliability diagram of ${row.method}: ${text}` },
        [0, 0.5, 1].map((at) => [s("line", { class: "grid", x1: x(0), x2: x(1), y1: y(at), y2: y(at) }), s("text", { x: 28, y: y(at) + 4, "text-anchor": "end" }, String(at)), s("text", { x: x(at), y: 290, "text-anchor": "middle" }, String(at))]),
        s("line", { class: "diagonal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
        filled.map(({ n, sure, right }) => s("g", {}, s("line", { class: "stem", x1: x(sure), x2: x(sure), y1: y(sure), y2: y(right) }),
          s("circle", { class: "dot", cx: x(sure), cy: y(right), r: 2 + 7 * Math.sqrt(n / total) }, s("title", {}, `stated ${sure.toFixed(3)}, came true ${right.toFixed(3)}, ${n.toLocaleString("en")} judgements`)))),
        filled.map(({ n, bin }) => s("rect", { class: "bar", x: 34 + bin * width, width: width - 1, y: 274 - (n / most) * 54, height: (n / most) * 54 }))));
  }

  // ---- cards -----------------------------------------------------------------------------------------------
  const cardId = (row) => `card-${table().rows.indexOf(row)}`;
  function open(row) { const card = $(cardId(row)); if (card) card.open = true; }
  function pair(name, value) { return value === undefined || value === null || value === "" ? [] : [h("dt", {}, name), h("dd", {}, value)]; }
  function command(text) {
    const say = h("button", { type: "button", class: "copy" }, "Copy");
    say.addEventListener("click", () => (navigator.clipboard ? navigator.clipboard.writeText(text) : Promise.reject()).then(() => { say.textContent = "Copied"; }, () => { say.textContent = "Select the text to copy it"; }));
    return h("div", {}, h("pre", {}, h("code", {}, text)), say);
  }
  function linked(text) {
    return text.split(/(https:\/\/[^\s)>\]]+)/).map((part, odd) => (odd % 2 ? h("a", { href: part, rel: "noreferrer noopener" }, part) : part));
  }
  function probe(each) {
    const number = (value) => (value === null ? "not finite" : Number(value.toPrecision(3)).toString());
    const dead = each.value === null || !((each.value - each.dead) / (each.alive - each.dead) >= 0.25);
    return h("li", {}, `${each.part}: ${each.quantity} ${number(each.value)} (dead ${number(each.dead)}, alive ${number(each.alive)})`, dead ? h("strong", { class: "bad" }, " does next to nothing") : []);
  }
  function card(row) {
    const facts = (row.keys || []).map((key) => data.results[key]).filter(Boolean);
    const first = facts[0] || {};
    const about = first.card || {};
    const cost = row.cost || {};
    const software = first.environment ? `Python ${first.environment.python}, ${Object.entries(first.environment.packages).map(([name, version]) => `${name} ${version}`).join(", ")}` : null;
    return h("details", { id: cardId(row) }, h("summary", {}, row.method, " ", h("span", {}, about.title || "")),
      h("dl", {}, pair("paper", about.paper ? linked(about.paper) : null), pair("does", (about.tasks || []).join(", ")), pair("reads", (about.reads || []).join(", ")),
        pair("variant", about.variant ? `${about.variant}: ${about.variant_text}` : null), pair("preset", first.preset ? `${first.preset} (of ${(about.presets || []).join(", ")})` : null),
        pair("licence", about.licence), pair("audit", h("span", { class: row.audit === "failed" ? "bad" : null }, [row.audit || "not audited", ...(first.audit?.failed || [])].join("; "))),
        COSTS.map(([key, name, say]) => pair(name, cost[key] ? say(cost[key]) : null)),
        pair("manifest", facts.length ? h("span", {}, row.keys.map((key, index) => [index ? ", " : "", h("code", {}, `results/${key}.json`)])) : null),
        pair("checkpoint", first.cell ? h("code", {}, first.cell) : null), pair("software", software)),
      about.deviations?.length ? [h("h3", {}, "Where the paper leaves a choice"), h("ul", {}, about.deviations.map((each) => h("li", {}, `${each.where}: ${each.chosen}`)))] : [],
      first.signs?.probes?.length ? h("details", {}, h("summary", {}, "Probes: does each named part act?"), h("ul", {}, first.signs.probes.map(probe))) : [],
      about.settings && Object.keys(about.settings).length ? h("details", {}, h("summary", {}, "Settings"), h("pre", {}, h("code", {}, JSON.stringify(about.settings, null, 1)))) : [],
      first.command ? [h("h3", {}, "Run it"), command(first.command)] : [],
      facts.length ? [h("h3", {}, "Reproduce these numbers"), command(row.keys.map((key) => `harness reproduce ${key}`).join("\n"))] : []);
  }

  // ---- controls of the page --------------------------------------------------------------------------------
  function choose(index) {
    const t = data.tables[index];
    Object.assign(view, { table: index, rate: t.sort_rate || 0, shown: new Set(t.metrics), rankBy: t.sort, sort: "rank", down: false, curve: t.curve_metric });
    view.off = new Set(t.rows.filter((row) => row.control && row.method.includes("+shuffled-image")).map((row) => row.method));
    replace("rate", rates(t).map((rate) => option(rate, rateText(t, rate), rate === view.rate)));
    replace("metrics", measured(t).map((name) => h("label", {}, h("input", { type: "checkbox", value: name, checked: view.shown.has(name), on: { change: pick } }), name)));
    replace("curve-metric", measured(t).map((name) => option(name, name, name === view.curve)));
    replace("state", statesOf(t).map((name) => option(name, name === "full" ? "nothing missing" : `${name} missing`, name === "full")));
    replace("cards", t.rows.map(card));
    $("curves").hidden = rates(t).length < 2;
    if (!t.rows.some((row) => cell(row, t.sort, view.rate)?.ranks)) Object.assign(view, { sort: t.sort, down: !lower(t, t.sort) });
    draw();
  }
  function pick(event) {
    if (event.target.checked) view.shown.add(event.target.value); else view.shown.delete(event.target.value);
    drawTable(); counted();
  }
  function counted() { $("column-count").textContent = `(${view.shown.size} of ${measured(table()).length})`; }
  const parts = panels({ data, h, s, $, replace, breakable, option, style, ticks, measured, cell, having });
  function draw() { drawTable(); counted(); drawCurves(); drawReliability(); parts.drawLabels(table()); parts.drawGroups(table()); }
  function theme() {
    const order = ["as the system", "light", "dark"];
    const now = document.documentElement.dataset.theme || order[0];
    const next = order[(order.indexOf(now) + 1) % order.length];
    if (next === order[0]) delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = next;
    $("theme").textContent = `Theme: ${next}`;
  }
  function start() {
    $("theme").addEventListener("click", theme);
    if (!data.tables.length) { document.querySelector("main").replaceChildren(h("p", { class: "notice" }, "The store holds no results yet.")); return; }
    replace("table", data.tables.map((t, index) => option(index, titleOf(t), index === 0)));
    $("table").addEventListener("change", (event) => choose(Number(event.target.value)));
    $("rate").addEventListener("change", (event) => { view.rate = Number(event.target.value); drawTable(); });
    $("curve-metric").addEventListener("change", (event) => { view.curve = event.target.value; drawCurves(); });
    $("state").addEventListener("change", drawReliability);
    $("label-method").addEventListener("change", () => parts.drawLabels(table()));
    for (const id of ["group-attribute", "group-metric"]) $(id).addEventListener("change", () => parts.drawGroups(table()));
    $("filter").addEventListener("input", drawTable);
    for (const id of ["intervals", "bands", "costs"]) $(id).addEventListener("change", drawTable);
    let late;
    addEventListener("resize", () => { clearTimeout(late); late = setTimeout(() => { drawCurves(); drawReliability(); }, 120); });
    addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
    let closed = [];
    addEventListener("beforeprint", () => { closed = [...document.querySelectorAll("details:not([open])")]; for (const each of closed) each.open = true; });
    addEventListener("afterprint", () => { for (const each of closed) each.open = false; });
    choose(0);
  }
  start();
})();
