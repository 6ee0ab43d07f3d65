// The mask as what was painted, in order: small, sharp at every zoom, undone by leaving the last ones out.
// @ts-check

/**
 * @typedef {{kind: "stroke", points: [number, number][], size: number, hardness: number, erase: boolean}} Stroke
 * @typedef {{kind: "area", points: [number, number][]}} Area  a closed polygon
 * @typedef {{kind: "picture", bitmap: ImageBitmap | OffscreenCanvas}} Loaded  hole where it is opaque
 * @typedef {{kind: "clear"}} Clear
 * @typedef {Stroke | Area | Loaded | Clear} Operation
 * @typedef {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} Context
 * @typedef {{x: number, y: number, width: number, height: number}} Box
 */

const COLOUR = "#ff5c3a";
const RINGS = 8; // of a soft brush

/**
 * Draw operations in pixels of the picture; the context's transform says where those are.
 * @param {Context} context
 * @param {Operation[]} operations  none of them a clear
 */
export function draw(context, operations) {
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = context.fillStyle = COLOUR;
  for (const operation of operations) {
    if (operation.kind === "stroke") drawStroke(context, operation);
    else if (operation.kind === "area") context.fill(path(operation.points), "evenodd");
    else if (operation.kind === "picture") context.drawImage(operation.bitmap, 0, 0);
  }
}

/** @param {Context} context @param {Stroke} stroke */
function drawStroke(context, stroke) {
  const line = path(stroke.points.length > 1 ? stroke.points : [stroke.points[0], stroke.points[0]]);
  context.globalCompositeOperation = stroke.erase ? "destination-out" : "source-over";
  const rings = stroke.hardness < 1 ? RINGS : 1;
  for (let ring = 0; ring < rings; ring++) {
    // From the whole width down to the hard core; the rings add up to opaque.
    const share = rings === 1 ? 1 : 1 - (1 - stroke.hardness) * (ring / (rings - 1));
    context.globalAlpha = 1 / (rings - ring);
    context.lineWidth = Math.max(stroke.size * share, 1);
    context.stroke(line);
  }
  context.globalAlpha = 1;
  context.globalCompositeOperation = "source-over";
}

/** @param {[number, number][]} points */
function path(points) {
  const line = new Path2D();
  points.forEach(([x, y], index) => (index ? line.lineTo(x, y) : line.moveTo(x, y)));
  return line;
}

/** What is left to draw after the last clear. @param {Operation[]} operations */
export function current(operations) {
  const last = operations.findLastIndex((operation) => operation.kind === "clear");
  return operations.slice(last + 1);
}

/**
 * A box around all that is painted, or null; erasing does not make it smaller.
 * @param {Operation[]} operations @param {number} width @param {number} height @param {number} margin
 * @returns {Box | null}
 */
export function bounds(operations, width, height, margin = 0) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const operation of operations) {
    if (operation.kind === "picture") [left, top, right, bottom] = [0, 0, width, height];
    if (operation.kind === "area" || (operation.kind === "stroke" && !operation.erase)) {
      const reach = operation.kind === "stroke" ? operation.size / 2 + 1 : 1;
      for (const [x, y] of operation.points) {
        left = Math.min(left, x - reach);
        right = Math.max(right, x + reach);
        top = Math.min(top, y - reach);
        bottom = Math.max(bottom, y + reach);
      }
    }
  }
  left = Math.max(Math.floor(left - margin), 0);
  top = Math.max(Math.floor(top - margin), 0);
  right = Math.min(Math.ceil(right + margin), width);
  bottom = Math.min(Math.ceil(bottom + margin), height);
  return right > left && bottom > top ? { x: left, y: top, width: right - left, height: bottom - top } : null;
}

/**
 * The mask as a PNG of the picture's size: white is hole.
 * @param {Operation[]} operations @param {number} width @param {number} height
 * @returns {Promise<Blob>}
 */
export async function png(operations, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  draw(context, operations);
  context.globalCompositeOperation = "source-in";
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = "black";
  context.fillRect(0, 0, width, height);
  return canvas.convertToBlob({ type: "image/png" });
}

/**
 * A mask file as an operation: its hole, value >= 128 or opaque where it has transparency, in the picture's size.
 * @param {Blob} file @param {number} width @param {number} height
 * @returns {Promise<Loaded>}
 */
export async function load(file, width, height) {
  const bitmap = await createImageBitmap(file);
  const canvas = new OffscreenCanvas(width, height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const data = context.getImageData(0, 0, width, height);
  const pixels = new Uint32Array(data.data.buffer);
  const bytes = data.data;
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(COLOUR.slice(at, at + 2), 16));
  const hole = (255 << 24) | (blue << 16) | (green << 8) | red;
  for (let at = 0; at < pixels.length; at++) {
    const i = 4 * at;
    const luma = 0.299 * bytes[i] + 0.587 * bytes[i + 1] + 0.114 * bytes[i + 2];
    pixels[at] = luma >= 127.5 && bytes[i + 3] >= 128 ? hole : 0;
  }
  context.putImageData(data, 0, 0);
  return { kind: "picture", bitmap: canvas };
}
