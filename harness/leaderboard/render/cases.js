"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);
const shown = new Set(data.methods.map((method) => method.name));

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const inWords = (state) => (state === "full" ? "nothing" : state.split("+").join(" and "));

const unasked = new Map(data.methods.map((method) => [method.name, new Set(method.unasked)]));

// A state that a method does not notice has no answer of its own: it gives that of the full study.
const answerOf = (study, method, state) => study.answers[method][state] ?? study.answers[method].full;

function scoreOf(study, method, state) {
  const scores = Object.values(answerOf(study, method, state).scores);
  return scores.length ? scores[0] : null;
}

function chips(findings) {
  const words = { hit: "right", false: "not in the reference", missed: "missed" };
  return findings.map(([name, probability, kind]) => {
    const text = probability === null ? name : `${name} ${probability.toFixed(2)}`;
    return element("span", { class: `chip ${kind}`, title: words[kind] }, text,
      element("span", { class: "hidden" }, ` (${words[kind]})`));
  });
}

function scoreLine(study, method, state) {
  const line = element("p", { class: "score" });
  const answer = answerOf(study, method, state);
  for (const [task, value] of Object.entries(answer.scores)) {
    line.append(`${data.score[task]} ${value.toFixed(3)} `);
    const change = value - (study.answers[method].full.scores[task] ?? value);
    if (unasked.get(method).has(state)) line.append("(of the whole study: never asked without it) ");
    else if (state !== "full" && study.answers[method][state] === undefined) line.append("(does not read it) ");
    else if (state !== "full") {
      const sign = change < 0 ? "−" : "+";
      line.append(element("span", change < 0 ? { class: "worse" } : {}, `${sign}${Math.abs(change).toFixed(3)} `));
    }
  }
  return line;
}

function attentionBlock(study, attention, lost) {
  const [views, height, width] = attention.shape;
  const size = height * width;
  const bytes = Uint8Array.from(atob(attention.weights), (letter) => letter.charCodeAt(0));
  const count = attention.words.length;
  const weight = (word, place) => (bytes[word * views * size + place] / 255) * attention.peaks[word];
  const mean = (value) => attention.words.reduce((sum, _, word) => sum + value(word), 0) / Math.max(1, count);
  const panes = [];
  const figures = element("div", { class: "top" });
  data.views.forEach((view, index) => {
    if (!study.images[view] || lost.has(view)) return;
    const canvas = element("canvas", { width, height, role: "img", "aria-label": `attention on the ${view} view` });
    const caption = element("figcaption");
    panes.push({ view, index, canvas, caption });
    const overlay = element("div", { class: "overlay" },
      element("img", { src: study.images[view], alt: `${view} view of ${study.id}`, loading: "lazy" }), canvas);
    // With one position a view there is no place to show, only how much goes to each view.
    figures.append(element("figure", {}, ...(size > 1 ? [overlay] : []), caption));
  });
  function show(word) {
    const value = word === null ? (place) => mean((each) => weight(each, place)) : (place) => weight(word, place);
    const values = Array.from({ length: views * size }, (_, place) => value(place));
    const top = Math.max(...values) || 1;
    for (const { view, index, canvas, caption } of panes) {
      const image = new ImageData(width, height);
      for (let place = 0; place < size; place += 1)
        image.data.set([255, 90, 0, Math.round((190 * values[index * size + place]) / top)], 4 * place);
      canvas.getContext("2d").putImageData(image, 0, 0);
      const share = word === null ? mean((each) => attention.views[each][index]) : attention.views[word][index];
      caption.textContent = `${view}: ${Math.round(100 * share)} % of ${word === null ? "all words'" : "the word's"} attention on images`;
    }
  }
  const line = element("p", { lang: "en", class: "words" });
  attention.words.forEach((text, word) => {
    const button = element("button", { type: "button" }, text);
    for (const name of ["mouseenter", "focus"]) button.addEventListener(name, () => show(word));
    for (const name of ["mouseleave", "blur"]) button.addEventListener(name, () => show(null));
    line.append(button, " ");
  });
  show(null);
  return element("details", { class: "attention", open: "" },
    element("summary", {}, `Where its words look (${size > 1 ? `${height} x ${width} positions` : "one position"} a view)`), figures, line);
}

function answerBlock(study, method, state) {
  const answer = answerOf(study, method, state);
  const body = element("div");
  if (answer.report) {
    const text = element("p", { lang: "en" });
    for (const [words, same] of answer.report) text.append(same ? element("mark", {}, words) : words, " ");
    if (!answer.report.length) text.append("(empty report)");
    body.append(text);
  }
  body.append(...chips(answer.findings ?? []));
  if (answer.attention) body.append(attentionBlock(study, answer.attention, new Set(study.lost[state])));
  return element("div", { class: "answer" },
    element("div", {}, element("h3", {}, method), scoreLine(study, method, state)), body);
}

function caseBlock(study, state) {
  const lost = new Set(study.lost[state]);
  const top = element("div", { class: "top" });
  for (const view of data.views) {
    if (!study.images[view]) continue;
    const gone = lost.has(view);
    const caption = gone ? `${view}: missing` : view;
    top.append(element("figure", gone ? { class: "lost" } : {},
      element("img", { src: study.images[view], alt: `${view} view of ${study.id}${gone ? ", which the methods do not get" : ""}`, loading: "lazy" }),
      element("figcaption", {}, caption)));
  }
  const facts = element("dl");
  if (study.context !== null) {
    const gone = lost.has("context");
    facts.append(element("dt", {}, gone ? "Context: missing" : "Context"),
      element("dd", gone ? { class: "lost-text" } : {}, study.context));
  }
  if (study.report !== null) facts.append(element("dt", {}, "Reference"), element("dd", { lang: "en" }, study.report));
  if (study.labels.length) facts.append(element("dt", {}, "Labels"),
    element("dd", {}, ...study.labels.map((name) => element("span", { class: "chip" }, name))));
  top.append(element("div", { class: "texts" }, facts));
  const block = element("article", { class: "case" }, element("h2", {}, study.id), top);
  for (const { name } of data.methods) if (shown.has(name)) block.append(answerBlock(study, name, state));
  return block;
}

function ordered() {
  const [kind, method] = JSON.parse(by("order").value);
  const state = by("state").value;
  const words = by("find").value.trim().toLowerCase();
  const studies = data.cases.filter((study) =>
    !words || [study.id, ...study.labels].some((text) => text.toLowerCase().includes(words)));
  if (kind === "given") return studies;
  const key = (study) => kind === "low"
    ? scoreOf(study, method, state) ?? 0
    : (scoreOf(study, method, state) ?? 0) - (scoreOf(study, method, "full") ?? 0);
  return [...studies].sort((a, b) => key(a) - key(b));
}

function draw() {
  const studies = ordered();
  const state = by("state").value;
  by("cases").replaceChildren(...studies.map((study) => caseBlock(study, state)));
  by("count").textContent = `${studies.length} studies, missing: ${inWords(state)}`;
}

for (const state of data.states) by("state").append(element("option", { value: state }, inWords(state)));
by("state").value = data.without;
by("order").append(element("option", { value: JSON.stringify(["given", ""]) }, data.order));
for (const { name } of data.methods) {
  by("order").append(element("option", { value: JSON.stringify(["loss", name]) }, `largest loss of ${name}`));
  by("order").append(element("option", { value: JSON.stringify(["low", name]) }, `lowest score of ${name}`));
  const box = element("input", { type: "checkbox", checked: "" });
  box.addEventListener("change", () => { if (box.checked) shown.add(name); else shown.delete(name); draw(); });
  by("methods").append(element("label", {}, box, name));
}
for (const id of ["state", "order"]) by(id).addEventListener("change", draw);
by("find").addEventListener("input", draw);

const themes = ["as the system", "light", "dark"];
by("theme").addEventListener("click", () => {
  const next = (themes.indexOf(by("theme").textContent.replace("Theme: ", "")) + 1) % themes.length;
  by("theme").textContent = `Theme: ${themes[next]}`;
  if (next) document.documentElement.dataset.theme = themes[next];
  else delete document.documentElement.dataset.theme;
});
draw();
