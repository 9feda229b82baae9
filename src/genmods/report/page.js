"use strict";
const {runs, differences, about, seeds} = JSON.parse(document.getElementById("data").textContent);
const page = document.getElementById("page"), several = runs.length > 1;
document.body.classList.toggle("several", several);
const recipes = new Set(runs.map(r => r.name.split("/")[0]));
const label = run => recipes.size > 1 ? run.name : run.name.split("/").pop();
const colour = i => `var(--c${i % 6})`;

function node(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) key in made ? made[key] = value : made.setAttribute(key, value);
  made.append(...children.filter(child => child !== null));
  return made;
}
function svg(tag, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}
function section(id, title, ...children) {
  page.append(node("section", {}, node("h2", {id}, title), ...children));
  document.getElementById("links").append(node("a", {href: "#" + id}, title));
}
const show = value => typeof value !== "number" ? String(value ?? "–") : value === 0 ? "0" : Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3 ? value.toExponential(2) : String(+value.toPrecision(4));
const count = value => value >= 1e6 ? +(value / 1e6).toFixed(2) + "M" : value >= 1e4 ? +(value / 1e3).toFixed(1) + "k" : String(value);
const dot = i => node("span", {className: "dot", style: `background:${colour(i)}`});
const legend = names => node("div", {className: "legend"}, ...names.map(([name, i]) => node("span", {}, dot(i), name)));

/* Charts: lines are {name, colour, points: [[x, y]]} */
function smooth(points, weight) {
  let mean = 0, mass = 0;
  return points.map(([x, y]) => { mean = weight * mean + (1 - weight) * y; mass = weight * mass + 1 - weight; return [x, mean / mass]; });
}
function ticks(low, high, most) {
  const rough = (high - low) / most || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= rough), found = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9 && found.length < 100; t += step) found.push(+t.toPrecision(12));
  return found;
}
function draw(plot, lines, state, {x: xLabel = "step", exact = false}) {
  const width = plot.clientWidth || 320, height = plot.clientHeight || 205, left = 46, right = 8, top = 6, bottom = 22;
  const log = state.log && lines.every(l => l.points.every(p => p[1] > 0)), scale = y => log ? Math.log10(y) : y;
  const shown = lines.map(l => ({...l, line: state.smooth && !exact && l.points.length > 12 ? smooth(l.points, state.smooth) : l.points}));
  const all = shown.flatMap(l => l.points), ys = all.map(p => scale(p[1])).sort((a, b) => a - b), xs = all.map(p => p[0]);
  let low = ys[0], high = ys[ys.length - 1];
  if (ys.length > 60) { const cap = ys[Math.floor(ys.length * .985)]; if (high > cap + 2 * (cap - low)) high = cap + .2 * (cap - low); }
  if (high - low < 1e-12) { low -= Math.abs(low) * .1 || .5; high += Math.abs(high) * .1 || .5; }
  const pad = (high - low) * .05; low -= pad; high += pad;
  const first = xs.reduce((a, b) => Math.min(a, b)), last = xs.reduce((a, b) => Math.max(a, b));
  const X = x => left + (width - left - right) * (last > first ? (x - first) / (last - first) : .5);
  const Y = y => top + (height - top - bottom) * (1 - (Math.min(scale(y), high) - low) / (high - low));
  plot.replaceChildren();
  plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const t of ticks(low, high, 4)) {
    const y = top + (height - top - bottom) * (1 - (t - low) / (high - low));
    plot.append(svg("line", {class: "grid", x1: left, x2: width - right, y1: y, y2: y}), svg("text", {x: left - 7, y: y + 4, "text-anchor": "end"}, show(log ? +(10 ** t).toPrecision(3) : t)));
  }
  for (const t of ticks(first, last, Math.max(3, width / 60))) plot.append(svg("text", {x: X(t), y: height - 5, "text-anchor": X(t) > width - 24 ? "end" : "middle"}, xLabel === "step" ? count(t) : show(t)));
  const path = points => points.map((p, i) => (i ? "L" : "M") + X(p[0]).toFixed(1) + " " + Y(p[1]).toFixed(1)).join("");
  for (const l of shown) {
    const look = {style: `stroke:${l.colour};opacity:${l.opacity ?? 1}`, ...(l.dash ? {"stroke-dasharray": "5 5"} : {})};
    if (l.line !== l.points) plot.append(svg("path", {class: "raw", d: path(l.points), style: `stroke:${l.colour}`}));
    plot.append(svg("path", {d: path(l.line), ...look}));
    if (l.points.length <= 30) for (const p of l.points) plot.append(svg("circle", {cx: X(p[0]), cy: Y(p[1]), r: 2.6, style: `fill:${l.colour};opacity:${l.opacity ?? 1}`}));
  }
  const cursor = svg("line", {class: "cursor", y1: top, y2: height - bottom, visibility: "hidden"});
  plot.append(cursor);
  const figure = plot.parentElement, hide = () => { cursor.setAttribute("visibility", "hidden"); figure.querySelector(".tip")?.remove(); };
  plot.onpointerleave = hide;
  plot.onpointermove = event => {
    hide();
    const at = first + (event.offsetX - left) / (width - left - right) * (last - first);
    const near = shown.filter(l => l.tip !== false).map(l => [l, l.line.reduce((a, b) => Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a)]);
    if (!near.length) return;
    const x = near.reduce((a, b) => Math.abs(b[1][0] - at) < Math.abs(a - at) ? b[1][0] : a, near[0][1][0]);
    cursor.setAttribute("x1", X(x)); cursor.setAttribute("x2", X(x)); cursor.setAttribute("visibility", "visible");
    const tip = node("div", {className: "tip"}, node("div", {className: "soft"}, xLabel === "step" ? `step ${x + 1}` : `${xLabel} ${show(x)}`),
      ...near.map(([l, p]) => node("div", {}, node("span", {className: "dot", style: `background:${l.colour}`}), l.name, node("b", {}, show(p[1])))));
    figure.append(tip);
    tip.style.top = "38px";
    tip.style.left = Math.max(6, Math.min(X(x) + 24, figure.clientWidth - tip.offsetWidth - 8)) + "px";
  };
}
function chart(title, about, lines, state, options = {}) {
  const plot = svg("svg", {class: "plot" + (options.tall ? " tall" : ""), role: "img", "aria-label": title});
  const names = [...new Map(lines.filter(l => l.tip !== false).map(l => [l.name, l.colour]))];
  const made = node("figure", {}, node("figcaption", {}, node("h3", {}, title), about ? node("span", {className: "soft"}, about) : null,
    names.length > 1 && !several ? node("div", {className: "legend"}, ...names.map(([n, c]) => node("span", {}, node("span", {className: "dot", style: `background:${c}`}), n))) : null), plot);
  const redraw = () => draw(plot, lines, state, options);
  new ResizeObserver(redraw).observe(plot);
  state.redraw.push(redraw);
  return made;
}

/* Head and main figures */
document.getElementById("about").append(several ? legend(runs.map((r, i) => [`${r.name} · ${count(r.steps)} steps`, i])) : [
  runs[0].settings["task.name"], runs[0].settings["task.network.name"] ?? runs[0].settings["task.network"], runs[0].settings["data.name"] ?? runs[0].settings["data"], runs[0].steps > 1 ? `${count(runs[0].steps)} steps` : null,
  runs[0].timing ? duration(runs[0].timing.train_seconds) + " of training" : null].filter(Boolean).join(" · "));
function duration(s) { return s < 90 ? Math.round(s) + " s" : s < 5400 ? Math.round(s / 60) + " min" : (s / 3600).toFixed(1) + " h"; }
function spark(points, i) {
  const xs = points.map(p => p[0]), ys = points.map(p => p[1]), [a, b, c, d] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const made = svg("svg", {viewBox: "0 0 100 26", preserveAspectRatio: "none"});
  made.append(svg("path", {d: points.map((p, k) => (k ? "L" : "M") + (100 * (p[0] - a) / (b - a || 1)).toFixed(2) + " " + (24 - 22 * (p[1] - c) / (d - c || 1)).toFixed(2)).join(""), style: `fill:none;stroke:${colour(i)};stroke-width:1.6`, "vector-effect": "non-scaling-stroke"}));
  return made;
}
if (!several && runs[0].figures.length) page.append(node("div", {className: "cards"}, ...runs[0].figures.slice(0, 8).map(f => node("div", {className: "card"},
  node("div", {className: "name"}, f.name), node("div", {className: "value"}, show(f.best)), f.points.length > 1 ? node("div", {className: "when"}, `best, at step ${count(f.step)}`) : null, f.points.length > 1 ? spark(f.points, 0) : null))));
if (several) {
  const names = [...new Set(runs.flatMap(r => r.figures.map(f => f.name)))];
  if (names.length) section("figures", "Figures", node("figure", {className: "scroll"}, node("table", {className: "rows"},
    node("tr", {}, node("th", {}, "best"), ...runs.map((r, i) => node("th", {className: "n"}, dot(i), " ", label(r)))),
    ...names.map(n => node("tr", {}, node("td", {className: "key"}, n), ...runs.map(r => node("td", {className: "n"}, show(r.figures.find(f => f.name === n)?.best))))))));
}

/* Curves: one chart a figure, stages and runs together */
const state = {smooth: .6, log: false, redraw: []}, exact = ["lr", "memory_gb"];
const groups = new Map(), first = ["loss", "acc", "fid", "bpd", "psnr", "lr", "grad_norm"];
runs.forEach((run, i) => Object.entries(run.series).forEach(([name, points]) => {
  const [stage, figure] = name.includes("/") ? [name.split("/")[0], name.slice(name.indexOf("/") + 1)] : ["", name];
  if (stage === "noise" || figure === "parameters" || figure === "epoch") return;
  if (!groups.has(figure)) groups.set(figure, []);
  const k = several ? i : ["train", "val", "test"].indexOf(stage);
  groups.get(figure).push({name: several ? `${run.name} ${stage}` : stage || figure, colour: colour(Math.max(0, k)), dash: several && stage === "train", points});
}));
const place = figure => { const i = first.findIndex(start => figure.startsWith(start)); return i < 0 ? 99 : i; };
for (const [figure, lines] of groups) if (lines.every(l => l.points.length < 2)) groups.delete(figure);
if (groups.size) {
  const amount = node("input", {type: "range", min: 0, max: .98, step: .02, value: state.smooth, id: "smoothing"});
  const log = node("button", {type: "button", ariaPressed: "false"}, "log scale");
  amount.oninput = () => { state.smooth = +amount.value; state.redraw.forEach(f => f()); };
  log.onclick = () => { state.log = !state.log; log.ariaPressed = String(state.log); state.redraw.forEach(f => f()); };
  section("curves", "Curves", node("div", {className: "tools"}, node("label", {}, "smoothing", amount), log, several ? node("span", {}, "solid: validation, dashed: training") : null),
    node("div", {className: "charts"}, ...[...groups].sort((a, b) => place(a[0]) - place(b[0]) || a[0].localeCompare(b[0])).map(([figure, lines]) => chart(figure, Object.hasOwn(about, figure) ? about[figure] : "", lines, state, {exact: exact.includes(figure)}))));
}

/* Pictures over time */
function sharpen() { this.style.imageRendering = this.naturalWidth > this.clientWidth ? "auto" : "pixelated"; }
function gallery(names) {
  return node("div", {className: "gallery"}, ...names.map(name => {
    const found = runs.map((r, i) => [r, i, r.pictures.find(p => p.name === name)]).filter(([, , p]) => p);
    const steps = [...new Set(found.flatMap(([, , p]) => p.steps.map(s => s.step)))].sort((a, b) => a - b);
    const images = found.map(([r, i, p]) => [node("img", {alt: `${name} of ${r.name}`, onload: sharpen}), p, r, i]);
    const text = node("output", {}), slider = node("input", {type: "range", min: 0, max: steps.length - 1, value: steps.length - 1, ariaLabel: `step of ${name}`});
    const update = () => {
      const step = steps[+slider.value];
      text.textContent = "step " + count(step);
      for (const [image, p] of images) image.src = (p.steps.filter(s => s.step <= step).pop() ?? p.steps[0]).source;
    };
    slider.oninput = update;
    update();
    const wide = several || ["strip", "features", "restored"].includes(name);
    return node("figure", {className: wide ? "wide" : ""}, node("figcaption", {}, node("h3", {}, name), node("span", {className: "soft"}, found[0][2].about)),
      node("div", {className: "pictures"}, ...images.map(([image, , r, i]) => node("div", {}, several ? node("small", {}, dot(i), r.name) : null, image))),
      steps.length > 1 ? node("div", {className: "slide"}, slider, text) : node("div", {className: "slide"}, text));
  }));
}
const shown = [...new Set(runs.flatMap(r => r.pictures.map(p => p.name)))], maps = shown.filter(n => n === "features"), samples = shown.filter(n => n !== "features");
if (samples.length) section("samples", "Samples", gallery(samples));

/* Loss by noise level */
const noisy = runs.map((r, i) => [r, i]).filter(([r]) => r.noise?.history?.length);
if (noisy.length) {
  const lines = noisy.flatMap(([r, i]) => {
    const edges = r.noise.log_snr_edges, history = several ? r.noise.history.slice(-1) : r.noise.history.slice(-12);
    return history.map((h, k) => ({name: several ? r.name : `step ${h.step}`, colour: colour(i), opacity: (k + 1) / history.length, tip: k === history.length - 1,
      points: h.loss.map((v, b) => [(edges[b] + edges[b + 1]) / 2, v]).filter(p => p[1] !== null).reverse()}));
  });
  section("noise", "Loss by noise level", chart("training loss", several ? "at the last validation" : "fainter lines are earlier; much noise left, little right", lines, {smooth: 0, log: false, redraw: []}, {x: "log-SNR", tall: true}));
}

/* Classes */
for (const [i, run] of runs.entries()) if (run.confusion) {
  const {class_names: names, counts} = run.confusion, sums = counts.map(r => r.reduce((a, b) => a + b, 0));
  const columns = names.map((_, k) => counts.reduce((a, r) => a + r[k], 0)), percent = x => isFinite(x) ? (100 * x).toFixed(1) + " %" : "–";
  const cell = (n, r, k) => { const share = sums[r] ? n / sums[r] : 0; return node("td", {title: `${names[r]} predicted as ${names[k]}: ${n}`, style: `background:rgb(var(--heat), ${n ? .08 + .8 * share : .03});${share > .55 ? "color:var(--card)" : ""}`}, n || ""); };
  section("classes" + (several ? i : ""), several ? `Classes of ${run.name}` : "Classes", node("div", {className: "two"},
    node("figure", {}, node("figcaption", {}, node("h3", {}, "confusion"), node("span", {className: "soft"}, `rows: true class, columns: predicted class · step ${run.confusion.step}`)), node("div", {className: "scroll"}, node("table", {className: "confusion"},
      ...counts.map((row, r) => node("tr", {}, node("th", {}, names[r]), ...row.map((n, k) => cell(n, r, k)))), node("tr", {className: "top"}, node("th"), ...names.map(n => node("th", {}, n)))))),
    node("figure", {}, node("figcaption", {}, node("h3", {}, "by class")), node("div", {className: "scroll"}, node("table", {className: "rows"}, node("tr", {}, ...["class", "images", "recall", "precision", "F1"].map((h, k) => node("th", {className: k ? "n" : ""}, h))),
      ...names.map((n, k) => { const recall = counts[k][k] / sums[k], precision = counts[k][k] / columns[k]; return node("tr", {}, node("td", {}, n), ...[sums[k], percent(recall), percent(precision), percent(2 * recall * precision / (recall + precision))].map(v => node("td", {className: "n"}, String(v)))); }))))));
}
if (maps.length) section("features", "Feature maps", gallery(maps));

/* Tables */
const rows = (pairs, headings) => node("div", {className: "scroll"}, node("table", {className: "rows"}, headings ? node("tr", {}, ...headings.map(h => node("th", {}, h))) : "", ...pairs.map(([key, ...values]) => node("tr", {}, node("td", {className: "key"}, key), ...values.map(v => node("td", {className: String(v).length < 24 ? "short" : ""}, v))))));
const flat = (value, prefix = "") => value === null || typeof value !== "object" ? [[prefix, String(value ?? "–")]] : Array.isArray(value) ? [[prefix, value.join(", ") || "–"]] : Object.entries(value).flatMap(([k, v]) => flat(v, prefix ? `${prefix}.${k}` : k));
const folded = (run, body) => several ? node("details", {}, node("summary", {}, run.name), body) : body;
function judged(figures) {
  const plain = figures.every(f => f.low == null && f.held_out == null && !f.note), cells = f => [f.low == null ? "–" : `${show(f.low)} … ${show(f.high)}`, f.held_out == null ? "–" : show(f.held_out), f.note ?? ""];
  return rows(figures.map(f => [f.name, show(f.value), ...(plain ? [] : cells(f))]), ["metric", "value", ...(plain ? [] : ["95 % interval", "real images", ""])]);
}
const evaluated = runs.filter(r => r.evaluation.length);
if (evaluated.length) section("evaluation", "Evaluation", ...evaluated.map(r => node("figure", {}, several ? node("figcaption", {}, node("h3", {}, r.name)) : "", judged(r.evaluation))));
if (seeds.length) section("seeds", "Seeds", ...seeds.map(s => node("figure", {}, node("figcaption", {}, node("h3", {}, s.title)), rows(s.rows, ["mean ± standard deviation", "last", "best"]))));
if (differences.length) section("differences", "Differences", node("figure", {}, rows(differences.map(([k, values]) => [k, ...values]), ["setting", ...runs.map(label)])));
section("recipe", "Recipe", node("div", {className: several ? "two" : ""}, ...runs.map(r => node("figure", {}, folded(r, node("pre", {}, r.recipe || "no recipe.yaml"))))));
if (runs.some(r => r.environment || r.timing)) section("environment", "Environment and timing", node("div", {className: several ? "two" : ""}, ...runs.map(r => node("figure", {}, folded(r, rows([...timing(r), ...flat(r.environment ?? {})]))))));
function timing(run) {
  const t = run.timing ?? {}, parameters = run.series["train/parameters"]?.[0][1];
  return [["parameters", parameters && count(parameters)], ["training", t.train_seconds !== undefined && duration(t.train_seconds)], ["validation", t.validate_seconds !== undefined && duration(t.validate_seconds)]].filter(([, v]) => v);
}
page.append(node("footer", {}, `genmods · made from ${several ? "the run folders" : "the run folder"} alone`));

const root = document.documentElement;
document.getElementById("theme").onclick = () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
};
