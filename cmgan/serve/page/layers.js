// A picture with its halves, quarters and so on: drawing it small reads few pixels, however large it is.
// @ts-check

/** @typedef {import("./mask.js").Box} Box */

const SMALLEST = 1024; // pixels; no level is made below

export class Layers {
  /** @param {ImageBitmap} bitmap  taken over: it is closed */
  constructor(bitmap) {
    this.width = bitmap.width;
    this.height = bitmap.height;
    /** @type {OffscreenCanvas[]} */
    this.levels = [];
    for (let { width, height } = bitmap; ; width >>= 1, height >>= 1) {
      this.levels.push(new OffscreenCanvas(Math.max(width, 1), Math.max(height, 1)));
      if (Math.max(width, height) <= SMALLEST) break;
    }
    this.patch(bitmap, { x: 0, y: 0, width: bitmap.width, height: bitmap.height });
    bitmap.close();
  }

  /** Replace a part of the picture. @param {CanvasImageSource} image @param {Box} box */
  patch(image, box) {
    this.levels.forEach((level, index) => {
      const context = /** @type {OffscreenCanvasRenderingContext2D} */ (level.getContext("2d"));
      context.imageSmoothingQuality = "high";
      const [across, down] = [level.width / this.width, level.height / this.height];
      // Each level from the one above it: halving is quick, and nothing is left out.
      if (!index) context.drawImage(image, box.x, box.y, box.width, box.height);
      else {
        const above = this.levels[index - 1];
        const scale = [above.width / this.width, above.height / this.height];
        const from = /** @type {const} */ ([box.x * scale[0], box.y * scale[1], box.width * scale[0], box.height * scale[1]]);
        context.drawImage(above, ...from, box.x * across, box.y * down, box.width * across, box.height * down);
      }
    });
  }

  /** A copy of a part. @param {Box} box @returns {OffscreenCanvas} */
  part(box) {
    const canvas = new OffscreenCanvas(box.width, box.height);
    canvas.getContext("2d")?.drawImage(this.levels[0], -box.x, -box.y);
    return canvas;
  }

  /**
   * Draw the part `box` of the picture at (0, 0) of the context, `scale` device pixels a picture pixel.
   * @param {CanvasRenderingContext2D} context @param {Box} box @param {number} scale
   */
  draw(context, box, scale) {
    let index = 0;
    while (index + 1 < this.levels.length && this.levels[index + 1].width >= this.width * scale) index++;
    const level = this.levels[index];
    const [across, down] = [level.width / this.width, level.height / this.height];
    context.imageSmoothingEnabled = scale < 3; // pixels are shown as pixels when they are large
    context.imageSmoothingQuality = "medium";
    context.drawImage(
      level,
      box.x * across, box.y * down, box.width * across, box.height * down,
      0, 0, box.width * scale, box.height * scale,
    );
  }
}
