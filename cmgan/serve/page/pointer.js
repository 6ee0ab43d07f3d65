// Mouse, touch and pen on the picture, and the keyboard instead of them.
// @ts-check

/**
 * @typedef {import("./view.js").View} View
 * @typedef {import("./mask.js").Operation} Operation
 * @typedef {"brush" | "eraser" | "lasso" | "rectangle" | "hand"} Tool
 * @typedef {{tool: Tool, size: number, hardness: number, enabled: boolean}} Settings
 */

const STEP = 12; // screen pixels that an arrow key moves the brush

export class Pointer {
  /**
   * @param {View} view @param {Settings} settings
   * @param {(operation: Operation) => void} finished
   */
  constructor(view, settings, finished) {
    this.view = view;
    this.settings = settings;
    this.finished = finished;
    /** @type {Map<number, [number, number]>} */ this.down = new Map();
    /** @type {[number, number] | null} */ this.start = null;
    this.panning = false;
    this.space = false;
    const { canvas } = view;
    canvas.addEventListener("pointerdown", (event) => this.pressed(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    canvas.addEventListener("pointerup", (event) => this.released(event));
    canvas.addEventListener("pointercancel", (event) => this.released(event, true));
    canvas.addEventListener("pointerleave", () => !this.down.size && this.showBrush(null));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.showBrush(null));
  }

  /** @param {PointerEvent | WheelEvent} event @returns {[number, number]} */
  at(event) {
    const box = this.view.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** @param {PointerEvent} event */
  pressed(event) {
    if (!this.view.picture || event.button === 2) return;
    this.view.canvas.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, this.at(event));
    if (this.down.size === 2) {
      this.view.live = null; // a second finger: it is a pinch, not a stroke
      this.panning = true;
    } else if (this.down.size === 1) {
      this.panning = this.space || event.button === 1 || this.settings.tool === "hand" || !this.settings.enabled;
      if (!this.panning) this.begin(this.view.toPicture(...this.at(event)));
    }
    this.view.canvas.classList.toggle("moving", this.panning);
  }

  /** @param {PointerEvent} event */
  moved(event) {
    const before = this.down.get(event.pointerId);
    const now = this.at(event);
    if (event.pointerType !== "touch") this.showBrush(now);
    if (!before) return;
    if (this.panning) this.pan(event.pointerId, before, now);
    else {
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) this.extend(this.view.toPicture(...this.at(each)));
    }
    this.down.set(event.pointerId, now);
  }

  /** @param {PointerEvent} event @param {boolean} [cancelled] */
  released(event, cancelled = false) {
    if (!this.down.delete(event.pointerId)) return;
    if (!this.panning) this.end(cancelled);
    if (!this.down.size) {
      this.panning = false;
      this.view.canvas.classList.remove("moving");
    }
  }

  /** One finger pans, two also zoom around their middle. @param {number} id @param {[number, number]} before @param {[number, number]} now */
  pan(id, before, now) {
    const others = [...this.down].filter(([other]) => other !== id);
    if (others.length !== 1) {
      this.view.move(now[0] - before[0], now[1] - before[1]);
      return;
    }
    const fixed = others[0][1];
    const length = (/** @type {[number, number]} */ point) => Math.hypot(point[0] - fixed[0], point[1] - fixed[1]);
    this.view.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    this.view.zoom(Math.max(length(now), 1) / Math.max(length(before), 1), (now[0] + fixed[0]) / 2, (now[1] + fixed[1]) / 2);
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    if (!this.view.picture) return;
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1;
    const speed = event.ctrlKey ? 0.01 : 0.0018; // a pinch on a touchpad comes as a wheel with Ctrl, in small steps
    this.view.zoom(Math.exp(-event.deltaY * lines * speed), ...this.at(event));
  }

  /** @param {[number, number]} point */
  begin(point) {
    const { tool, size, hardness } = this.settings;
    this.start = point;
    this.view.live =
      tool === "brush" || tool === "eraser"
        ? { kind: "stroke", points: [point], size, hardness, erase: tool === "eraser" }
        : { kind: "area", points: [point] };
    this.view.redraw();
  }

  /** @param {[number, number]} point */
  extend(point) {
    const { live } = this.view;
    if (!live || !("points" in live) || !this.start) return;
    if (this.settings.tool === "rectangle") {
      const [[left, top], [right, bottom]] = [this.start, point];
      live.points = [[left, top], [right, top], [right, bottom], [left, bottom]];
    } else live.points.push(point);
    this.view.redraw();
  }

  /** @param {boolean} cancelled */
  end(cancelled) {
    const { live } = this.view;
    this.view.live = null;
    this.start = null;
    const painted = live && (live.kind === "stroke" || (live.kind === "area" && live.points.length > 2));
    if (painted && !cancelled) this.finished(live);
    this.view.redraw();
  }

  /** @param {[number, number] | null} at */
  showBrush(at) {
    const { tool, size, enabled } = this.settings;
    const brush = at && enabled && (tool === "brush" || tool === "eraser");
    if (!brush && !this.view.brush) return;
    const [x, y] = brush ? this.view.toPicture(...at) : [0, 0];
    this.view.brush = brush ? { x, y, size } : null;
    this.view.redraw();
  }

  /** Arrow keys move the brush, with Shift they paint; Enter paints a dot. @param {KeyboardEvent} event */
  key(event) {
    const { view, settings } = this;
    if (!view.picture || !settings.enabled || event.ctrlKey || event.metaKey || event.altKey) return;
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move && event.key !== "Enter") return;
    event.preventDefault();
    const from = view.brush ?? { x: view.picture.width / 2, y: view.picture.height / 2, size: settings.size };
    const step = STEP / view.scale;
    const to = { x: from.x + (move?.[0] ?? 0) * step, y: from.y + (move?.[1] ?? 0) * step, size: settings.size };
    if (!move || event.shiftKey) {
      const { size, hardness } = settings;
      this.finished({ kind: "stroke", points: [[from.x, from.y], [to.x, to.y]], size, hardness, erase: settings.tool === "eraser" });
    }
    view.brush = to;
    view.redraw();
  }
}
