// The page: buttons, keys, files; what each does is in the other modules.
// @ts-check
import { model, rememberToken } from "./api.js";
import { Filling } from "./filling.js";
import { load, png } from "./mask.js";
import { Pointer } from "./pointer.js";
import { Session } from "./session.js";
import { View } from "./view.js";

const SEEN = 4 * 1000; // milliseconds that a message stays
const TOOLS = /** @type {Record<string, import("./pointer.js").Tool>} */ ({ b: "brush", e: "eraser", a: "lasso", r: "rectangle", h: "hand" });

/** @template {HTMLElement} T @param {string} id @returns {T} */
const get = (id) => /** @type {T} */ (document.getElementById(id));
/** @param {string} id @returns {HTMLInputElement} */
const input = (id) => get(id);
/** @param {string} id @returns {HTMLButtonElement} */
const button = (id) => get(id);
/** @param {string} id @returns {HTMLDialogElement} */
const dialog = (id) => get(id);

const view = new View(get("view"));
/** @type {import("./pointer.js").Settings} */
const settings = { tool: "brush", size: 48, hardness: 1, enabled: true };
const session = new Session(view, refresh);
const pointer = new Pointer(view, settings, (operation) => session.paint(operation));
const filling = new Filling(session, { bar: get("bar"), elapsed: get("elapsed"), box: get("progress") });
/** @type {any} */ let facts = null;
let messageTimer = 0;

/** @param {string} message */
function say(message) {
  get("status").textContent = message;
  clearTimeout(messageTimer);
  messageTimer = setTimeout(() => (get("status").textContent = ""), SEEN);
}

function refresh() {
  const { timeline, file } = session;
  const [busy, filled] = [filling.running !== null, timeline.steps.length > 0];
  const comparing = view.compareAt !== null;
  get("welcome").hidden = file !== null;
  view.canvas.classList.toggle("empty", file === null);
  view.canvas.classList.toggle("comparing", comparing);
  settings.enabled = file !== null && !busy && !comparing;
  button("undo").disabled = busy || !timeline.canUndo;
  button("redo").disabled = busy || !timeline.canRedo;
  button("clear").disabled = busy || !timeline.mask.length;
  button("mask-save").disabled = !timeline.mask.length;
  button("mask-open").disabled = file === null;
  button("run").disabled = busy || !timeline.mask.length;
  button("compare").disabled = !filled && !comparing;
  button("copy").disabled = button("save").disabled = file === null;
  get("compare-at").hidden = !comparing;
  button("compare").setAttribute("aria-pressed", String(comparing));
  showSteps();
  showSamples(busy);
}

function showSteps() {
  const { allSteps, steps } = session.timeline;
  get("history").hidden = !allSteps.length;
  const names = ["Original", ...allSteps.map((_, index) => `Step ${index + 1}`)];
  get("history").replaceChildren(
    ...names.map((name, index) => {
      const step = document.createElement("button");
      step.type = "button";
      step.textContent = name;
      if (index === steps.length) step.setAttribute("aria-current", "step");
      step.addEventListener("click", () => filling.running || session.goTo(index - 1));
      return step;
    }),
  );
}

/** The samples of the step that is shown, while nothing new has been painted. @param {boolean} busy */
function showSamples(busy) {
  const step = session.timeline.steps.at(-1);
  const shown = !!step && step.samples.length > 1 && !busy && !session.timeline.mask.length;
  get("samples").hidden = !shown;
  if (!step || !shown) return;
  get("samples").replaceChildren(
    ...step.samples.map((sample, index) => {
      const choice = document.createElement("button");
      choice.type = "button";
      choice.setAttribute("role", "radio");
      choice.setAttribute("aria-checked", String(index === step.chosen));
      choice.setAttribute("aria-label", `Sample ${index + 1}, seed ${sample.seed}`);
      choice.append(session.thumbnail(step, sample));
      choice.addEventListener("click", () => session.choose(index));
      return choice;
    }),
  );
}

/** @param {File | null | undefined} file */
async function open(file) {
  if (!file || filling.running) return;
  if (facts && file.size > facts.limits.bytes) {
    say(`This file has ${(file.size / 2 ** 20).toFixed(0)} MiB; the server takes ${(facts.limits.bytes / 2 ** 20).toFixed(0)}.`);
    return;
  }
  try {
    await session.open(file);
  } catch {
    say("This is no picture that can be shown: PNG, JPEG and WebP are.");
    return;
  }
  const { width, height } = /** @type {import("./layers.js").Layers} */ (view.picture);
  input("size").value = String(Math.round(Math.min(Math.max(Math.max(width, height) / 22, 8), 400)));
  showValues();
  say(`${width} × ${height}. Paint over what should go.`);
}

async function run() {
  if (button("run").disabled) return;
  toggleOptions(false);
  const options = {
    strategy: input("strategy").value,
    crop_margin: input("crop-margin").value,
    dilate: input("dilate").value,
    feather: input("feather").value,
  };
  try {
    say(await filling.run(options, Number(input("seed").value) || 0, Number(input("samples-count").value)));
  } catch (error) {
    const refusal = /** @type {import("./api.js").Refusal} */ (error);
    say(refusal.message);
    if (refusal.code === "token") dialog("token").showModal();
  }
}

/** @param {Blob} blob @param {string} name */
function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function save() {
  if (!session.file) return;
  const stem = session.file.name.replace(/\.[^.]*$/, "") || "picture";
  const filled = session.timeline.steps.length > 0;
  download(session.blob, filled ? `${stem}.inpainted.png` : session.file.name);
}

async function saveMask() {
  const { picture } = view;
  if (picture) download(await png(session.timeline.mask, picture.width, picture.height), "mask.png");
}

async function copy() {
  if (!session.file) return;
  const asPng = async () => {
    if (session.blob.type === "image/png") return session.blob;
    return /** @type {import("./layers.js").Layers} */ (view.picture).levels[0].convertToBlob({ type: "image/png" });
  };
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": asPng() })]);
    say("Copied.");
  } catch {
    say("The browser does not allow copying here; download it instead.");
  }
}

/** @param {File | null | undefined} file */
async function openMask(file) {
  const { picture } = view;
  if (!file || !picture) return;
  try {
    session.paint(await load(file, picture.width, picture.height));
  } catch {
    say("This is no picture that can be read as a mask.");
  }
}

function compare() {
  if (button("compare").disabled) return;
  view.compareAt = view.compareAt === null ? Number(input("compare-at").value) / 100 : null;
  refresh();
  view.redraw();
  if (view.compareAt !== null) get("compare-at").focus();
}

/** @param {import("./pointer.js").Tool} tool */
function choose(tool) {
  settings.tool = tool;
  view.canvas.dataset.tool = tool;
  view.brush = null;
  for (const each of document.querySelectorAll("[data-tool]")) {
    if (each instanceof HTMLButtonElement) each.setAttribute("aria-checked", String(each.dataset.tool === tool));
  }
  view.redraw();
}

function showValues() {
  settings.size = Number(input("size").value);
  settings.hardness = Number(input("hardness").value) / 100;
  for (const [id, unit] of [["size", "px"], ["hardness", "%"], ["dilate", "px"], ["feather", "px"], ["crop-margin", "px"]]) {
    get(`${id}-value`).textContent = `${input(id).value} ${unit}`;
  }
  const strategy = /** @type {HTMLSelectElement} */ (get("strategy")).selectedOptions[0];
  get("strategy-about").textContent = strategy.dataset.about ?? "";
  input("crop-margin").disabled = strategy.value !== "crop";
  if (view.brush) view.brush.size = settings.size;
  view.redraw();
}

/** @param {boolean} shown */
function toggleOptions(shown) {
  get("panel").classList.toggle("shown", shown);
  get("options").setAttribute("aria-expanded", String(shown));
}

function changeTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  localStorage.setItem("cmgan-theme", (document.documentElement.dataset.theme = now === "dark" ? "light" : "dark"));
  view.redraw();
}

async function connect() {
  try {
    facts = await model();
  } catch (error) {
    const refusal = /** @type {import("./api.js").Refusal} */ (error);
    get("model").textContent = "not connected";
    if (refusal.code === "token") dialog("token").showModal();
    else if (["loading", "offline"].includes(refusal.code)) setTimeout(connect, 1000);
    else say(refusal.message);
    return;
  }
  get("model").textContent = facts.trained ? `${facts.name}, ${facts.format}` : `${facts.name}, untrained`;
  get("about-text").textContent = facts.about;
  const rows = { Name: facts.name, Runs: `${facts.format}, ${facts.precision}`, Network: `${facts.resolution} × ${facts.resolution} pixels`, cmgan: facts.version };
  get("about-facts").replaceChildren(
    ...Object.entries(rows).flatMap(([name, value]) => {
      const [term, description] = [document.createElement("dt"), document.createElement("dd")];
      [term.textContent, description.textContent] = [name, value];
      return [term, description];
    }),
  );
}

const ACTIONS = /** @type {Record<string, () => unknown>} */ ({
  open: () => get("file").click(),
  choose: () => get("file").click(),
  copy,
  save,
  theme: changeTheme,
  help: () => dialog("shortcuts").showModal(),
  model: () => facts && dialog("about").showModal(),
  undo: () => session.undo(),
  redo: () => session.redo(),
  clear: () => session.paint({ kind: "clear" }),
  "zoom-in": () => view.zoom(1.4),
  "zoom-out": () => view.zoom(1 / 1.4),
  fit: () => view.fit(),
  compare,
  "mask-open": () => get("mask-file").click(),
  "mask-save": saveMask,
  options: () => toggleOptions(!get("panel").classList.contains("shown")),
  run,
  cancel: () => filling.cancel(),
});
const KEYS = /** @type {Record<string, string>} */ ({ o: "open", x: "clear", c: "compare", l: "theme", "?": "help", "+": "zoom-in", "=": "zoom-in", "-": "zoom-out", 0: "fit" });
const WITH_CONTROL = /** @type {Record<string, string>} */ ({ enter: "run", z: "undo", y: "redo", s: "save", c: "copy" });

/** @param {string} action */
function act(action) {
  if (!(get(action) instanceof HTMLButtonElement) || !button(action).disabled) ACTIONS[action]();
}

/** @param {KeyboardEvent} event */
function key(event) {
  const typing = event.target instanceof HTMLInputElement && event.target.type !== "range";
  if (typing || document.querySelector("dialog[open]")) return;
  const name = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    const action = name === "z" && event.shiftKey ? "redo" : WITH_CONTROL[name];
    if (!action || (action === "copy" && getSelection()?.toString())) return;
    event.preventDefault();
    act(action);
  } else if (name === "escape") {
    if (filling.running) filling.cancel();
    else if (view.compareAt !== null) compare();
    else toggleOptions(false);
  } else if (name === " " && !(event.target instanceof HTMLButtonElement)) {
    event.preventDefault();
    pointer.space = true;
  } else if (name === "[" || name === "]") {
    input("size").value = String(settings.size * (name === "]" ? 1.15 : 1 / 1.15) + (name === "]" ? 1 : -1));
    showValues();
  } else if (TOOLS[name] && !event.altKey) choose(TOOLS[name]);
  else if (KEYS[name] && !event.altKey) act(KEYS[name]);
}

/** @param {DataTransfer | null} data */
const pictureIn = (data) => [...(data?.files ?? [])].find((file) => file.type.startsWith("image/"));

function listen() {
  for (const [id, action] of Object.entries(ACTIONS)) get(id).addEventListener("click", () => action());
  for (const each of document.querySelectorAll("button[data-tool]")) {
    each.addEventListener("click", () => choose(/** @type {any} */ (each).dataset.tool));
  }
  for (const id of ["size", "hardness", "dilate", "feather", "crop-margin", "strategy"]) get(id).addEventListener("input", showValues);
  input("compare-at").addEventListener("input", () => {
    view.compareAt = Number(input("compare-at").value) / 100;
    view.redraw();
  });
  for (const [id, take] of /** @type {[string, (file?: File) => unknown][]} */ ([["file", open], ["mask-file", openMask]])) {
    input(id).addEventListener("change", () => {
      take(input(id).files?.[0]);
      input(id).value = ""; // so that the same file can be chosen again
    });
  }
  addEventListener("keydown", key);
  addEventListener("keyup", (event) => event.key === " " && (pointer.space = false));
  addEventListener("paste", (event) => open(pictureIn(event.clipboardData)));
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dropping", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") open(pictureIn(/** @type {DragEvent} */ (event).dataTransfer));
    });
  }
  dialog("token").addEventListener("close", () => {
    rememberToken(input("token-value").value);
    connect();
  });
}

const theme = localStorage.getItem("cmgan-theme");
if (theme) document.documentElement.dataset.theme = theme;
listen();
choose("brush");
showValues();
refresh();
connect();
