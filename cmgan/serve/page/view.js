// What is seen: the visible part of the picture, the mask over it, the brush; drawn once a frame at most.
// @ts-check
import { draw as drawMask } from "./mask.js";

/**
 * @typedef {import("./layers.js").Layers} Layers
 * @typedef {import("./mask.js").Operation} Operation
 */

const MASK_STRENGTH = 0.55;
const LARGEST = 40; // screen pixels a picture pixel

export class View {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.overlay = new OffscreenCanvas(1, 1);
    /** @type {Layers | null} */ this.picture = null;
    /** @type {Layers | null} */ this.original = null;
    /** @type {Operation[]} */ this.mask = [];
    /** @type {Operation | null} */ this.live = null;
    /** @type {{x: number, y: number, size: number} | null} */ this.brush = null; // in picture pixels
    /** @type {number | null} */ this.compareAt = null; // share of the width
    this.scale = 1; // screen pixels a picture pixel
    this.x = 0; // of the picture's corner, in screen pixels
    this.y = 0;
    this.fitted = true;
    this.pending = false;
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  resize() {
    const ratio = devicePixelRatio;
    this.canvas.width = this.overlay.width = Math.max(Math.round(this.canvas.clientWidth * ratio), 1);
    this.canvas.height = this.overlay.height = Math.max(Math.round(this.canvas.clientHeight * ratio), 1);
    if (this.fitted) this.fit();
    this.paint(); // at once: a canvas that has just been resized is black
  }

  /** Show all of the picture. */
  fit() {
    if (!this.picture) return;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [side, rim] = width > 760 ? [72, 28] : [12, 12];
    const free = [Math.max(width - 2 * side, 1), Math.max(height - 2 * rim, 1)];
    this.scale = Math.min(free[0] / this.picture.width, free[1] / this.picture.height, 8);
    this.x = (width - this.picture.width * this.scale) / 2;
    this.y = (height - this.picture.height * this.scale) / 2;
    this.fitted = true;
    this.redraw();
  }

  /** @param {number} factor @param {number} [x] of the point that stays @param {number} [y] */
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const smallest = 32 / Math.max(this.picture?.width ?? 1, this.picture?.height ?? 1);
    const scale = Math.min(Math.max(this.scale * factor, smallest), LARGEST);
    this.move(x - (x - this.x) * (scale / this.scale) - this.x, y - (y - this.y) * (scale / this.scale) - this.y);
    this.scale = scale;
  }

  /** @param {number} dx @param {number} dy */
  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.fitted = false;
    this.redraw();
  }

  /** Screen to picture. @param {number} x @param {number} y @returns {[number, number]} */
  toPicture(x, y) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  redraw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.paint();
    });
  }

  paint() {
    const { context, canvas } = this;
    const ratio = devicePixelRatio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = getComputedStyle(document.body).backgroundColor;
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (!this.picture) return;
    const split = this.compareAt === null || !this.original ? 0 : this.compareAt * canvas.clientWidth;
    this.paintPart(this.picture, split, canvas.clientWidth, ratio);
    if (split && this.original) {
      this.paintPart(this.original, 0, split, ratio);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.fillStyle = "#fffc";
      context.fillRect(split - 1, 0, 2, canvas.clientHeight);
    }
    if (this.compareAt !== null) return;
    this.paintMask(ratio);
    if (this.brush) this.paintBrush(ratio);
  }

  /** The columns `left` to `right` of the screen. @param {Layers} picture @param {number} left @param {number} right @param {number} ratio */
  paintPart(picture, left, right, ratio) {
    // Whole picture pixels, or their edges would move while one pans.
    const from = [Math.max(Math.floor((left - this.x) / this.scale), 0), Math.max(Math.floor(-this.y / this.scale), 0)];
    const to = [
      Math.min(Math.ceil((right - this.x) / this.scale), picture.width),
      Math.min(Math.ceil((this.canvas.clientHeight - this.y) / this.scale), picture.height),
    ];
    if (to[0] <= from[0] || to[1] <= from[1]) return;
    const { context } = this;
    context.save();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.beginPath();
    context.rect(left, 0, right - left, this.canvas.clientHeight);
    context.clip();
    const corner = [(this.x + from[0] * this.scale) * ratio, (this.y + from[1] * this.scale) * ratio];
    context.setTransform(1, 0, 0, 1, corner[0], corner[1]);
    const box = { x: from[0], y: from[1], width: to[0] - from[0], height: to[1] - from[1] };
    picture.draw(context, box, this.scale * ratio);
    context.restore();
  }

  /** @param {number} ratio */
  paintMask(ratio) {
    const operations = this.live ? [...this.mask, this.live] : this.mask;
    if (!operations.length || !this.picture) return;
    const overlay = /** @type {OffscreenCanvasRenderingContext2D} */ (this.overlay.getContext("2d"));
    overlay.setTransform(1, 0, 0, 1, 0, 0);
    overlay.clearRect(0, 0, this.overlay.width, this.overlay.height);
    overlay.save();
    overlay.setTransform(this.scale * ratio, 0, 0, this.scale * ratio, this.x * ratio, this.y * ratio);
    overlay.beginPath();
    overlay.rect(0, 0, this.picture.width, this.picture.height);
    overlay.clip();
    drawMask(overlay, operations);
    overlay.restore();
    const { context } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = MASK_STRENGTH;
    context.drawImage(this.overlay, 0, 0);
    context.globalAlpha = 1;
  }

  /** The outline of the brush, light on dark and dark on light. @param {number} ratio */
  paintBrush(ratio) {
    const { context, brush } = this;
    if (!brush) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const [x, y] = [this.x + brush.x * this.scale, this.y + brush.y * this.scale];
    const radius = Math.max((brush.size * this.scale) / 2, 1.5);
    for (const [colour, width] of /** @type {[string, number][]} */ ([["#000a", 3], ["#fff", 1.25]])) {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
  }
}
