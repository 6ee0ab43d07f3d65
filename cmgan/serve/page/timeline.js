// What has been done, in order, with a position in it: undo and redo over strokes and fillings alike.
// @ts-check
import { current } from "./mask.js";

/**
 * @typedef {{blob: Blob, seed: number, patch: ImageBitmap}} Sample
 * @typedef {{kind: "step", samples: Sample[], chosen: number, box: import("./mask.js").Box, before: OffscreenCanvas}} Step
 * @typedef {import("./mask.js").Operation} Operation
 */

export class Timeline {
  constructor() {
    /** @type {(Operation | Step)[]} */
    this.entries = [];
    this.position = 0;
  }

  /** @param {Operation | Step} entry */
  add(entry) {
    this.entries.splice(this.position, Infinity, entry);
    this.position++;
  }

  get canUndo() {
    return this.position > 0;
  }

  get canRedo() {
    return this.position < this.entries.length;
  }

  /** The steps up to the position. @returns {Step[]} */
  get steps() {
    return /** @type {Step[]} */ (this.entries.slice(0, this.position).filter((entry) => entry.kind === "step"));
  }

  /** All steps, also those that redo would bring back. @returns {Step[]} */
  get allSteps() {
    return /** @type {Step[]} */ (this.entries.filter((entry) => entry.kind === "step"));
  }

  /** The mask's operations since the last step. @returns {Operation[]} */
  get mask() {
    const done = this.entries.slice(0, this.position);
    const last = done.findLastIndex((entry) => entry.kind === "step");
    return current(/** @type {Operation[]} */ (done.slice(last + 1)));
  }

  /** The sample that a step shows can be chosen again; what came after it is then gone. @param {Step} step */
  truncateAfter(step) {
    this.entries.splice(this.entries.indexOf(step) + 1);
    this.position = this.entries.length;
  }
}
