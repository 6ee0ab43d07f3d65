// One press of Inpaint: the request or requests, how far they are, and how they end.
// @ts-check
import { Refusal, inpaint } from "./api.js";
import { bounds, png } from "./mask.js";

/**
 * @typedef {import("./session.js").Session} Session
 * @typedef {{bar: HTMLProgressElement, elapsed: HTMLElement, box: HTMLElement}} Shown
 */

const SAYINGS = /** @type {Record<string, string>} */ ({
  mask_empty: "Nothing is painted strongly enough to be a hole.",
  mask_large: "More than 60 % of the picture is hole: little is left to go by.",
});

export class Filling {
  /** @param {Session} session @param {Shown} shown */
  constructor(session, shown) {
    this.session = session;
    this.shown = shown;
    /** @type {AbortController | null} */ this.running = null;
  }

  cancel() {
    this.running?.abort();
  }

  /**
   * @param {Record<string, string | number>} options @param {number} seed @param {number} count
   * @returns {Promise<string>} what to tell; throws a `Refusal`
   */
  async run(options, seed, count) {
    const { session } = this;
    const { picture } = session.view;
    const operations = session.timeline.mask;
    const box = picture && bounds(operations, picture.width, picture.height, Number(options.dilate));
    if (!picture || !box || this.running) return "Paint over what should go first.";
    const controller = (this.running = new AbortController());
    const clock = this.start(count);
    const said = new Set();
    try {
      const [image, mask] = [session.blob, await png(operations, picture.width, picture.height)];
      for (let number = 0; number < count; number++) {
        const sent = { ...options, seed: seed + number };
        const { blob, warnings } = await inpaint(image, mask, sent, controller.signal);
        warnings.forEach((warning) => said.add(SAYINGS[warning] ?? ""));
        const sample = await session.sample(blob, box, seed + number);
        if (number) session.addSample(sample);
        else session.fill([sample], box);
        if (count > 1) this.shown.bar.value = number + 1;
      }
      const seconds = ((performance.now() - clock.started) / 1000).toFixed(1);
      return [...said].join(" ").trim() || `Done in ${seconds} s.`;
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return "Cancelled.";
      if (error instanceof Refusal) throw error;
      throw new Refusal(`The answer cannot be shown (${error}).`, "page");
    } finally {
      clearInterval(clock.timer);
      this.shown.box.hidden = true;
      this.running = null;
      session.changed();
    }
  }

  /** @param {number} count */
  start(count) {
    const { bar, elapsed, box } = this.shown;
    const started = performance.now();
    const tick = () => {
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      elapsed.textContent = count > 1 ? `${bar.value} of ${count}, ${seconds} s` : `${seconds} s`;
    };
    if (count > 1) [bar.max, bar.value] = [count, 0];
    else bar.removeAttribute("value");
    box.hidden = false;
    tick();
    this.session.changed();
    return { started, timer: setInterval(tick, 100) };
  }
}
