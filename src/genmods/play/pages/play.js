// The frame of the page: the state of the server, the tabs, and requests.

import { SECTIONS } from "./uses.js";

const $ = id => document.getElementById(id);
const state = { models: [] };
const shown = {};

export async function ask(use, fields) {
  const wait = setInterval(queue, 1500);
  try {
    const response = await fetch(`api/${use}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(fields),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    return answer;
  } finally {
    clearInterval(wait);
    status();
  }
}

// The names of the models, and how many requests run or wait if there are several.
function status(jobs = 0) {
  const names = state.models.map(model => model.name).join(" · ");
  $("status").textContent = jobs > 1 ? `${names} · ${jobs} requests are waiting` : names;
}

async function queue() {
  const found = await (await fetch("api/state")).json().catch(() => ({}));
  status(found.jobs);
}

// Calls `act` now, or after the call that runs; of the calls in between only the last is made.
export function latest(act) {
  let running = false, again = false;
  return async function call() {
    if (running) { again = true; return; }
    running = true;
    try {
      do { again = false; await act(); } while (again);
      fault("");
    } catch (error) {
      fault(error.message);
    } finally {
      running = false;
    }
  };
}

export function fault(text) {
  $("fault").textContent = text;
  $("fault").hidden = !text;
}

function open(name) {
  for (const button of $("tabs").children) button.setAttribute("aria-selected", button.dataset.name === name);
  for (const section of $("main").children) section.hidden = section.id !== name;
  fault("");
  if (!shown[name]) {
    shown[name] = true;
    SECTIONS[name].build($(name), state);
  }
}

function build() {
  for (const [name, section] of Object.entries(SECTIONS)) {
    const button = document.createElement("button"), body = document.createElement("section");
    button.textContent = section.title;
    button.dataset.name = name;
    button.setAttribute("role", "tab");
    button.addEventListener("click", () => open(name));
    button.disabled = !section.fits(state);
    body.id = name;
    body.hidden = true;
    $("tabs").append(button);
    $("main").append(body);
  }
  const first = [...$("tabs").children].find(button => !button.disabled);
  if (first) open(first.dataset.name);
}

async function start() {
  for (;;) {
    const found = await (await fetch("api/state")).json().catch(() => ({ error: "the server does not answer" }));
    if (found.error) { $("status").textContent = found.error; return; }
    Object.assign(state, found);
    if (found.ready) break;
    await new Promise(done => setTimeout(done, 300));
  }
  status();
  if (state.faults.length) fault(state.faults.join("\n"));
  if (state.models.length) build();
}

start();
