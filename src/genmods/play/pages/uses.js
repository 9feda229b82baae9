// One section of the page per use: its controls, its requests and the pictures of the answer.

import { ask, fault, latest } from "./play.js";
import { Pad } from "./pad.js";

const LEAST = 0.01, MOST = 30;

function element(tag, settings = {}, ...children) {
  const made = Object.assign(document.createElement(tag), settings);
  made.append(...children);
  return made;
}

const card = (...children) => element("div", { className: "card stack" }, ...children);
const stack = (...children) => element("div", { className: "stack" }, ...children);
const row = (...children) => element("div", { className: "row" }, ...children);
const hint = text => element("p", { className: "hint", textContent: text });
const labelled = (text, input) => element("label", {}, text, input);

function figure(source, caption, kind = "") {
  const image = element("img", { src: source, alt: caption });
  if (kind === "smooth") image.className = "smooth";
  return element("figure", { className: kind === "smooth" ? "" : kind }, image, element("figcaption", { textContent: caption }));
}

function numbers(name, value, low, high, change = () => {}) {
  const input = element("input", { type: "number", value, min: low, max: high, step: 1, name });
  input.addEventListener("change", () => {
    input.value = Math.round(Math.min(high, Math.max(low, Number(input.value) || low)));
    change();
  });
  return input;
}

function slider(low, high, step, value, change) {
  const input = element("input", { type: "range", min: low, max: high, step, value });
  input.addEventListener("input", change);
  return input;
}

function choice(options, change = () => {}) {
  const select = element("select", {}, ...options.map(([value, text]) => element("option", { value, textContent: text })));
  select.addEventListener("change", change);
  return select;
}

const places = (state, use) => state.models.map((model, k) => [k, model]).filter(([, model]) => model.uses.includes(use));

function models(state, use, change) {
  return choice(places(state, use).map(([k, model]) => [k, model.name]), change);
}

function classes(select, state, none = "any class") {
  const model = state.models[Number(select.value)];
  return choice([["", model.conditional ? none : "no classes"], ...(model.conditional ? model.classes.map(name => [name, name]) : [])]);
}

// A button that puts a sample of the model, by default one of a random class, on a pad.
function sampling(pad, state, place) {
  const draw = latest(async () => {
    const seed = Math.floor(Math.random() * 1e6), model = state.models[place()];
    const label = model.conditional ? model.classes[seed % model.classes.length] : "";
    const answer = await ask("generate", { model: place(), n: 1, seed, label });
    await pad.show(answer.samples[0]);
  });
  if (place() !== undefined) pad.button("Sample", draw);
  return draw;
}

const generator = (state, place) => () => state.models[place]?.uses.includes("generate") ? place : places(state, "generate")[0]?.[0];

function bars(list) {
  const best = [...list].sort((a, b) => b.probability - a.probability).slice(0, 10);
  const made = element("div", { className: "bars" });
  for (const { name, probability } of best) {
    const fill = element("i");
    fill.style.width = `${100 * probability}%`;
    made.append(element("span", { textContent: name }), element("div", { className: "bar" }, fill),
      element("span", { textContent: `${(100 * probability).toFixed(1)} %` }));
  }
  return made;
}

function waiting(target, act) {
  return async () => {
    target.classList.add("busy");
    try { await act(); } finally { target.classList.remove("busy"); }
  };
}

function classify(root, state) {
  const found = stack(), maps = stack();
  const update = latest(waiting(found, async () => {
    if (pad.empty) { found.replaceChildren(hint("Draw something, or drop an image.")); maps.replaceChildren(); return; }
    const fields = { model: Number(select.value), image: pad.picture, drawing: pad.drawing };
    const answer = await ask("classify", fields);
    found.replaceChildren(bars(answer.classes), element("div", { className: "pictures" }, figure(answer.input, "input")));
    if (!state.models[fields.model].uses.includes("look")) return;
    const seen = await ask("look", fields);
    if (seen.cam) found.lastChild.append(figure(seen.cam, `Grad-CAM of ${seen.cam_of}`, "smooth"));
    maps.replaceChildren(element("h2", { textContent: "Feature maps" }), ...seen.layers.map(layer => stack(
      hint(`${layer.name}, ${layer.shape.join(" × ")}`),
      element("div", { className: "pictures" }, ...layer.maps.map(source => figure(source, "", "small"))))));
  }));
  const select = models(state, "classify", update);
  const sorted = places(state, "classify").sort(([, a], [, b]) => a.uses.includes("noise") - b.uses.includes("noise"));
  select.value = sorted[0][0];
  const pad = new Pad(update, { name: "Picture to classify" });
  pad.failed = fault;
  sampling(pad, state, generator(state, -1));
  root.append(card(labelled("Model", select), pad.root, hint("Draw on the square, or drop an image on it.")),
    stack(card(element("h2", { textContent: "Classes" }), found), card(maps)));
  update();
}

function noise(root, state) {
  const found = element("div", { className: "pictures" }), figures = element("p", { className: "numbers" });
  const update = latest(async () => {
    if (pad.empty) { found.replaceChildren(hint("Draw something, take a sample, or drop an image.")); return; }
    const sigma = LEAST * (MOST / LEAST) ** (level.value / 100);
    const fields = { model: Number(select.value), image: pad.picture, drawing: pad.drawing, sigma, label: label.value };
    const answer = await ask("noise", fields);
    found.replaceChildren(figure(answer.noisy, "xₜ, with noise"), figure(answer.estimate, "estimate of x₀"),
      figure(answer.score, "score: where to move"), figure(answer.input, "input"));
    figures.textContent = `σ/α ${sigma.toPrecision(3)} · log-SNR ${answer.log_snr.toFixed(2)} · t ${answer.t.toPrecision(3)}`
      + ` · error of the estimate ${answer.error.toFixed(3)}`;
  });
  const level = slider(0, 100, 1, 45, update);
  let label;
  const select = models(state, "noise", () => {
    const other = classes(select, state);
    other.addEventListener("change", update);
    label.replaceWith(other);
    label = other;
    update();
  });
  label = classes(select, state);
  label.addEventListener("change", update);
  const pad = new Pad(update, { name: "Picture without noise" });
  pad.failed = fault;
  const sample = sampling(pad, state, generator(state, Number(select.value)));
  root.append(card(labelled("Model", select), pad.root, labelled("Class", label)),
    card(labelled("Noise level", level), figures, found));
  sample();
}

function inpaint(root, state) {
  const found = element("div", { className: "pictures" }), figures = element("p", { className: "numbers" });
  const select = models(state, "inpaint");
  let label = classes(select, state);
  select.addEventListener("change", () => { const other = classes(select, state); label.replaceWith(other); label = other; });
  const seed = numbers("seed", 0, 0, 1e6), steps = numbers("steps", 20, 2, 200);
  const fill = latest(waiting(found, async () => {
    if (!pad.painted) throw new Error("Paint the part to fill first.");
    const answer = await ask("inpaint", {
      model: Number(select.value), image: pad.picture, mask: pad.mask, label: label.value,
      seed: Number(seed.value), steps: Number(steps.value),
    });
    found.replaceChildren(figure(answer.input, "known part"),
      ...answer.fillings.map((source, k) => figure(source, `filling ${k + 1}`)), figure(answer.spread, "spread of the fillings"));
    figures.textContent = `mean standard deviation in the hole ${answer.mean_spread.toFixed(3)}, on the scale of -1 to 1`;
  }));
  const pad = new Pad(() => {}, { mask: true, name: "Picture to fill" });
  pad.failed = fault;
  const sample = sampling(pad, state, generator(state, Number(select.value)));
  const button = element("button", { className: "main", textContent: "Fill", type: "button" });
  button.addEventListener("click", fill);
  found.append(hint("Paint over a part of the picture, then fill it: four samples of the model."));
  root.append(card(labelled("Model", select), pad.root, row(labelled("Class", label), labelled("Steps", steps), labelled("Seed", seed)), button),
    card(element("h2", { textContent: "Fillings" }), figures, found));
  sample();
}

// Steps of a reverse process: a slider, a button that plays them, and the pictures of one or more runs.
function film(sets) {
  const body = stack(), caption = element("p", { className: "numbers" }), count = Math.max(...sets.map(s => s.frames.length));
  const show = () => {
    body.replaceChildren(...sets.map(({ name, frames, grid }) => stack(...(name ? [element("h2", { textContent: name })] : []),
      element("div", { className: "pictures" }, ...(frames.length ? pair(frames, Number(at.value)) : [figure(grid, "samples", "wide")])))));
    const frame = sets[0].frames[Math.min(Number(at.value), sets[0].frames.length - 1)];
    caption.textContent = frame ? `call ${Number(at.value) + 1} of ${count} · σ/α ${Number(frame.sigma.toPrecision(3))}` : "";
  };
  const pair = (frames, k) => {
    const frame = frames[Math.min(k, frames.length - 1)];
    return [figure(frame.x, "xₜ", "wide"), figure(frame.x0, "estimate of x₀", "wide")];
  };
  const at = slider(0, Math.max(0, count - 1), 1, Math.max(0, count - 1), show);
  at.setAttribute("aria-label", "Step of the reverse process");
  let timer;
  const play = element("button", { textContent: "Play", type: "button" });
  play.addEventListener("click", () => {
    clearInterval(timer);
    at.value = 0;
    show();
    timer = setInterval(() => {
      at.value = Number(at.value) + 1;
      show();
      if (Number(at.value) >= count - 1 || !at.isConnected) clearInterval(timer);
    }, Math.max(60, 2400 / count));
  });
  show();
  return count > 0 ? stack(row(play, caption), at, body) : body;
}

function generationControls(state, select) {
  const model = () => state.models[Number(select.value)];
  let label = classes(select, state, "each in turn");
  const text = element("output", { textContent: "1" });
  const guidance = slider(0, 6, 0.25, 1, () => { text.textContent = guidance.value; });
  let sampler = choice(model().samplers.map(name => [name, name]));
  const steps = numbers("steps", model().steps || 8, 1, 200), seed = numbers("seed", 0, 0, 1e6);
  const guided = labelled(element("span", {}, "Guidance ", text), guidance);
  const root = stack(row(labelled("Class", label), labelled("Sampler", sampler)), row(labelled("Steps", steps), labelled("Seed", seed)), guided);
  const refresh = () => {
    const other = classes(select, state, "each in turn");
    label.replaceWith(other);
    label = other;
    const names = choice(model().samplers.map(name => [name, name]));
    sampler.replaceWith(names);
    sampler = names;
    guided.hidden = !model().guided;
    sampler.disabled = !model().steps;
    if (model().steps) steps.value = model().steps;
  };
  select.addEventListener("change", refresh);
  refresh();
  const fields = () => ({
    label: label.value, steps: Number(steps.value), seed: Number(seed.value), n: 8,
    ...(sampler.disabled ? {} : { sampler: sampler.value }), ...(guided.hidden ? {} : { guidance: Number(guidance.value) }),
  });
  return { root, fields };
}

function generate(root, state) {
  const found = stack(), select = models(state, "generate"), controls = generationControls(state, select);
  const run = latest(waiting(found, async () => {
    const answer = await ask("generate", { model: Number(select.value), ...controls.fields() });
    found.replaceChildren(film([answer]));
  }));
  const button = element("button", { className: "main", textContent: "Generate", type: "button" });
  button.addEventListener("click", run);
  root.append(card(labelled("Model", select), controls.root, button), card(element("h2", { textContent: "Reverse process" }), found));
  run();
}

function interpolate(root, state) {
  const found = stack(), select = models(state, "interpolate");
  let frames = [];
  const show = () => {
    if (frames.length) at.after(strip);
    strip.replaceChildren(figure(frames[Number(at.value)], `${Math.round(100 * at.value / 8)} % of the way`, "wide"));
    all.replaceChildren(...frames.map(source => figure(source, "", "small")));
  };
  const at = slider(0, 8, 1, 4, () => frames.length && show());
  at.setAttribute("aria-label", "Place between the two pictures");
  const strip = element("div", { className: "pictures" }), all = element("div", { className: "pictures" });
  const update = latest(waiting(found, async () => {
    if (first.empty || second.empty) return;
    const answer = await ask("interpolate", {
      model: Number(select.value), image: first.picture, second: second.picture, frames: 9,
      drawing: first.drawing && second.drawing,
    });
    frames = answer.frames;
    show();
  }));
  select.addEventListener("change", update);
  const first = new Pad(update, { name: "First picture" }), second = new Pad(update, { name: "Second picture" });
  const samples = [first, second].map(pad => { pad.failed = fault; return sampling(pad, state, generator(state, Number(select.value))); });
  first.empty = second.empty = true;
  found.append(at, strip, all);
  root.append(card(labelled("Model", select), element("h2", { textContent: "From" }), first.root, element("h2", { textContent: "To" }), second.root),
    card(element("h2", { textContent: "In between" }), found));
  samples.forEach(sample => sample());
}

function compare(root, state) {
  const found = stack();
  const use = places(state, "generate").length > 1 ? "generate" : "classify";
  const [one, two] = [0, 1].map(() => models(state, use));
  two.selectedIndex = Math.min(1, two.options.length - 1);
  const names = () => [one, two].map(select => state.models[Number(select.value)].name);
  if (use === "generate") {
    const controls = generationControls(state, one);
    const run = latest(waiting(found, async () => {
      const answers = [];
      for (const select of [one, two]) answers.push(await ask("generate", { model: Number(select.value), ...controls.fields() }));
      found.replaceChildren(film(answers.map((answer, k) => ({ ...answer, name: names()[k] }))));
    }));
    const button = element("button", { className: "main", textContent: "Generate with both", type: "button" });
    button.addEventListener("click", run);
    root.append(card(labelled("First model", one), labelled("Second model", two), controls.root, button,
      hint("Both start from the same noise.")), card(element("h2", { textContent: "Side by side" }), found));
    run();
    return;
  }
  const update = latest(waiting(found, async () => {
    if (pad.empty) { found.replaceChildren(hint("Draw something, or drop an image.")); return; }
    const answers = [];
    for (const select of [one, two])
      answers.push(await ask("classify", { model: Number(select.value), image: pad.picture, drawing: pad.drawing }));
    found.replaceChildren(...answers.map((answer, k) => stack(element("h2", { textContent: names()[k] }), bars(answer.classes))));
  }));
  for (const select of [one, two]) select.addEventListener("change", update);
  const pad = new Pad(update, { name: "Picture for both models" });
  pad.failed = fault;
  const sample = sampling(pad, state, generator(state, -1));
  root.append(card(labelled("First model", one), labelled("Second model", two), pad.root), card(element("h2", { textContent: "Side by side" }), found));
  if (places(state, "generate").length) sample(); else update();
}

const some = (use, least = 1) => state => places(state, use).length >= least;

export const SECTIONS = {
  classify: { title: "Classify", fits: some("classify"), build: classify },
  noise: { title: "Noise", fits: some("noise"), build: noise },
  inpaint: { title: "Inpaint", fits: some("inpaint"), build: inpaint },
  generate: { title: "Generate", fits: some("generate"), build: generate },
  interpolate: { title: "Interpolate", fits: some("interpolate"), build: interpolate },
  compare: { title: "Compare", fits: state => some("generate", 2)(state) || some("classify", 2)(state), build: compare },
};
