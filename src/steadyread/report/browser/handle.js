// @ts-check
/**
 * A handle on the curve beside the answer: dragged, moved by arrow keys, or by the range input beneath. The drawing
 * stays as it is; an SVG of the same view lies over it. Tells the page of each size: `steadyread:handle` {size}, native.
 *
 * @typedef {{sizes: number[], accuracy: number[], start: number, per: number, x: [number, number],
 *            y: [number, number], unit: string, share: string}} Curve
 * @typedef {{x: (size: number) => number, y: (share: number) => number, top: number, bottom: number, left: number,
 *            right: number, size: (x: number) => number}} Scale
 */
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const STEPS = 200;      // of the range input and of the arrow keys
  const ROOM = 150;       // beside the handle that its words need, in units of the drawing

  /** @param {number} value */
  function digits(value) {
    if (value === 0) return "0";
    return value.toFixed(Math.max(0, 1 - Math.floor(Math.log10(Math.abs(value)))));
  }

  /** @param {Curve} curve @param {number} size */
  function accuracyAt(curve, size) {
    let low = 0;
    let high = curve.sizes.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (curve.sizes[middle] <= size) low = middle; else high = middle;
    }
    return curve.accuracy[low];
  }

  /**
   * Where the axes enclose the drawing, in units of its view, as it says itself; null where it does not.
   * @param {SVGSVGElement} drawing @param {Curve} curve @returns {Scale | null}
   */
  function scaleOf(drawing, curve) {
    const [left, top, right, bottom] = (drawing.dataset.plot || "").split(" ").map(Number);
    if (!(right > left && bottom > top)) return null;
    const [width, height] = [right - left, bottom - top];
    const [from, to] = curve.x;
    const [least, most] = curve.y;
    return {
      left, top, right, bottom,
      x: (size) => left + width * (size - from) / (to - from),
      y: (share) => top + height * (1 - (share - least) / (most - least)),
      size: (x) => Math.min(to, Math.max(from, from + (to - from) * (x - left) / width)),
    };
  }

  /** @param {string} name @param {Record<string, string | number>} attributes */
  function shape(name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
    return made;
  }

  /** @param {HTMLElement} plot @param {SVGSVGElement} drawing @param {Curve} curve @param {Scale} scale */
  function begin(plot, drawing, curve, scale) {
    const over = shape("svg", {viewBox: drawing.getAttribute("viewBox") || "", class: "handle-layer"});
    const down = shape("line", {class: "handle-line", y2: scale.bottom});
    const across = shape("line", {class: "handle-across", x1: scale.left});
    const words = /** @type {SVGTextElement} */ (shape("text", {class: "handle-words"}));
    const knob = shape("g", {class: "handle", tabindex: 0, role: "slider", "aria-label": "Size of the change"});
    knob.append(shape("circle", {r: 18, class: "handle-reach"}), shape("circle", {r: 6.5, class: "handle-knob"}));
    over.append(down, across, words, knob);
    const range = document.createElement("input");
    Object.assign(range, {type: "range", min: "0", max: String(STEPS), className: "handle-range"});
    range.setAttribute("aria-label", "Size of the change");
    plot.append(over, range);
    const [from, to] = curve.x;
    const step = (to - from) / STEPS;
    let size = curve.start;

    function show() {
      const share = accuracyAt(curve, size);
      const [x, y] = [scale.x(size), scale.y(share)];
      const says = `${digits(size)} ${curve.unit}: ${Math.round(100 * share)} % ${curve.share}`;
      for (const [line, ends] of /** @type {[Element, Record<string, number>][]} */ ([
        [down, {x1: x, x2: x, y1: y}], [across, {x2: x, y1: y, y2: y}]])) {
        for (const [key, value] of Object.entries(ends)) line.setAttribute(key, String(value));
      }
      knob.setAttribute("transform", `translate(${x},${y})`);
      words.textContent = says;
      const length = words.getComputedTextLength() || ROOM;
      const free = sides(x, y).filter(({from, to}) => from >= scale.left && to <= scale.right);
      const place = free.find((each) => !covers(each)) || free[0] || sides(x, y)[0];
      words.setAttribute("x", String(place.left ? x - 12 : x + 12));
      words.setAttribute("y", String(place.base));
      words.setAttribute("text-anchor", place.left ? "end" : "start");

      /** Where the words may stand beside the handle, the best first. @param {number} x @param {number} y */
      function sides(x, y) {
        return [[false, -10], [true, -10], [true, 22], [false, 22], [false, -34], [true, -34]].map(([left, below]) => ({
          left: Boolean(left), base: Math.min(scale.bottom - 6, Math.max(scale.top + 30, y + Number(below))),
          from: left ? x - 12 - length : x + 12, to: left ? x - 12 : x + 12 + length}));
      }
      range.value = String(Math.round((size - from) / step));
      for (const [name, value] of Object.entries({
        "aria-valuemin": from, "aria-valuemax": to, "aria-valuenow": Number(digits(size)), "aria-valuetext": says})) {
        knob.setAttribute(name, String(value));
      }
      range.setAttribute("aria-valuetext", says);
    }

    /** Whether words would lie over a point of the drawing. @param {{from: number, to: number, base: number}} place */
    function covers({from, to, base}) {
      const matrix = /** @type {SVGSVGElement} */ (over).getScreenCTM();
      if (!matrix) return false;
      const back = matrix.inverse();
      return [...drawing.querySelectorAll("path[transform]")].some((mark) => {
        const {left, right, top, bottom} = mark.getBoundingClientRect();
        const [at, end] = [new DOMPoint(left, top).matrixTransform(back), new DOMPoint(right, bottom).matrixTransform(back)];
        return right > left && end.x > from && at.x < to && end.y > base - 12 && at.y < base + 4;
      });
    }

    /** @param {number} asked */
    function move(asked) {
      size = Math.min(to, Math.max(from, asked));
      show();
      document.dispatchEvent(new CustomEvent("steadyread:handle", {detail: {size: size * curve.per}}));
    }

    /** @param {PointerEvent} event */
    function follow(event) {
      const matrix = /** @type {SVGSVGElement} */ (over).getScreenCTM();
      if (matrix) move(scale.size(new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse()).x));
    }

    knob.addEventListener("pointerdown", (event) => {
      knob.setPointerCapture(/** @type {PointerEvent} */ (event).pointerId);
      event.preventDefault();
      /** @type {SVGElement} */ (knob).focus();
    });
    knob.addEventListener("pointermove", (event) => {
      const moved = /** @type {PointerEvent} */ (event);
      if (knob.hasPointerCapture(moved.pointerId)) follow(moved);
    });
    knob.addEventListener("keydown", (event) => {
      const pressed = /** @type {KeyboardEvent} */ (event);
      const by = {ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10}[pressed.key];
      const end = {Home: from, End: to}[pressed.key];
      if (by === undefined && end === undefined) return;
      pressed.preventDefault();
      move(end ?? size + (by ?? 0) * (pressed.shiftKey ? 10 : 1) * step);
    });
    range.addEventListener("input", () => move(from + step * Number(range.value)));
    show();
    addEventListener("load", () => move(size));
  }

  for (const plot of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".plot[data-handle]"))) {
    const drawing = plot.querySelector("svg");
    const data = document.getElementById(plot.dataset.handle || "");
    const curve = /** @type {Curve} */ (JSON.parse((data && data.textContent) || "{}"));
    const scale = drawing && curve.sizes && curve.sizes.length ? scaleOf(drawing, curve) : null;
    if (drawing && scale) begin(plot, drawing, curve, scale);
  }
})();
