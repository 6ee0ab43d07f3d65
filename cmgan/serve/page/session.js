// The photograph that is open, and everything that was done to it.
// @ts-check
import { Layers } from "./layers.js";
import { Timeline } from "./timeline.js";

/**
 * @typedef {import("./view.js").View} View
 * @typedef {import("./timeline.js").Step} Step
 * @typedef {import("./timeline.js").Sample} Sample
 * @typedef {import("./mask.js").Operation} Operation
 * @typedef {import("./mask.js").Box} Box
 */

const THUMBNAIL = 128; // pixels, twice what it is shown at

export class Session {
  /** @param {View} view @param {() => void} changed  called whenever the buttons may have to look different */
  constructor(view, changed) {
    this.view = view;
    this.changed = changed;
    this.timeline = new Timeline();
    /** @type {File | null} */ this.file = null;
  }

  /** @param {File} file */
  async open(file) {
    const bitmap = await createImageBitmap(file); // turned as its EXIF says
    const copy = await createImageBitmap(bitmap);
    this.file = file;
    this.timeline = new Timeline();
    this.view.picture = new Layers(bitmap);
    this.view.original = new Layers(copy);
    this.view.compareAt = null;
    this.view.fit();
    this.refresh();
  }

  /** The exact bytes of the picture as it now stands: the file, or the server's last answer. @returns {Blob} */
  get blob() {
    const step = this.timeline.steps.at(-1);
    return step ? step.samples[step.chosen].blob : /** @type {File} */ (this.file);
  }

  /** @param {Operation} operation */
  paint(operation) {
    this.timeline.add(operation);
    this.refresh();
  }

  /** Only the hole's region is decoded into the picture. @param {Blob} blob @param {Box} box @param {number} seed @returns {Promise<Sample>} */
  async sample(blob, box, seed) {
    return { blob, seed, patch: await createImageBitmap(blob, box.x, box.y, box.width, box.height) };
  }

  /** @param {Sample[]} samples @param {Box} box */
  fill(samples, box) {
    const before = /** @type {Layers} */ (this.view.picture).part(box);
    this.timeline.add({ kind: "step", samples, chosen: 0, box, before });
    this.view.picture?.patch(samples[0].patch, box);
    this.refresh();
  }

  /** A further sample of the last step. @param {Sample} sample */
  addSample(sample) {
    this.timeline.steps.at(-1)?.samples.push(sample);
    this.changed();
  }

  /** A square around the hole, filled by a sample. @param {Step} step @param {Sample} sample */
  thumbnail(step, sample) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = THUMBNAIL;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const { x, y, width, height } = step.box;
    const scale = THUMBNAIL / (1.6 * Math.max(width, height));
    context.setTransform(scale, 0, 0, scale, THUMBNAIL / 2 - (x + width / 2) * scale, THUMBNAIL / 2 - (y + height / 2) * scale);
    context.drawImage(/** @type {Layers} */ (this.view.picture).levels[0], 0, 0);
    context.drawImage(sample.patch, x, y);
    return canvas;
  }

  /** @param {number} index */
  choose(index) {
    const step = /** @type {Step} */ (this.timeline.steps.at(-1));
    this.timeline.truncateAfter(step);
    step.chosen = index;
    this.view.picture?.patch(step.samples[index].patch, step.box);
    this.refresh();
  }

  undo() {
    if (!this.timeline.canUndo) return;
    const entry = this.timeline.entries[--this.timeline.position];
    if (entry.kind === "step") this.view.picture?.patch(entry.before, entry.box);
    this.refresh();
  }

  redo() {
    if (!this.timeline.canRedo) return;
    const entry = this.timeline.entries[this.timeline.position++];
    if (entry.kind === "step") this.view.picture?.patch(entry.samples[entry.chosen].patch, entry.box);
    this.refresh();
  }

  /** Go to just after a step; -1 is the photograph. @param {number} index */
  goTo(index) {
    const { timeline } = this;
    const target = index < 0 ? 0 : timeline.entries.indexOf(timeline.allSteps[index]) + 1;
    while (timeline.position > target) this.undo();
    while (timeline.position < target) this.redo();
  }

  refresh() {
    this.view.mask = this.timeline.mask;
    this.view.redraw();
    this.changed();
  }
}
