// @ts-check
/**
 * The scatter of the cases: told what to show, it tells what was chosen.
 *
 * @typedef {[number, number, number, number]} Box from the left, the right, the top and the bottom, as shares of the plot
 * @typedef {{size: number, row: number, box: Box | null, shown: Set<number>}} Showing
 */
const caseScatter = (() => {
  "use strict";
  const { element, plain, united, sized } = caseData;
  const EDGE = { left: 52, right: 14, top: 16, bottom: 44 }, NEAR = 14, DRAGGED = 5, GROWN = 0.06, MANY = 5000;
  const TICKS = [0.001, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.99, 0.997, 0.999, 0.9999, 0.99999, 0.999999];

  /** @param {number} share */
  const logit = (share) => Math.log(Math.max(share, 1e-7) / Math.max(1 - share, 1e-7));

  /** Round values between two ends. @param {number} low @param {number} high @param {boolean} log */
  const ticks = (low, high, log) => {
    const values = [];
    if (log) {
      for (let decade = Math.floor(low); decade <= high; decade++)
        for (const step of high - low < 1.6 ? [1, 2, 5] : [1]) values.push(step * 10 ** decade);
      return values.filter((value) => Math.log10(value) >= low && Math.log10(value) <= high);
    }
    const step = caseData.rounded((high - low) / 5);
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) values.push(value);
    return values;
  };

  /** Where each case lies, as shares of the plot: to the right the surer, upwards the steadier.
   * @param {CaseBlock} block */
  const scaled = (block) => {
    const { axis, cases } = block, up = axis.kind === "dose" ? -1 : 1;
    const spread = (/** @type {number} */ size) => (axis.log ? Math.log10(size * axis.per) : size * axis.per);
    const sizes = /** @type {number[]} */ (cases.flip.filter((size) => size !== null && (!axis.log || size > 0)));
    const marks = [...sizes, ...(block.noise && axis.kind === "flip" ? [block.noise] : [])].map(spread);
    const ends = [Math.min(...marks.slice(0, 1)), Math.max(...marks.slice(0, 1))];
    for (const mark of marks) { ends[0] = Math.min(ends[0], mark); ends[1] = Math.max(ends[1], mark); }
    if (!marks.length) { ends[0] = 0; ends[1] = 1; }
    const room = (ends[1] - ends[0]) * 0.05 || 0.5, [low, high] = [ends[0] - room, ends[1] + room];
    const never = cases.flip.some((size) => size === null), top = never ? 0.08 : 0;
    const surest = cases.sure.reduce((/** @type {number} */ most, value) => Math.max(most, logit(value ?? 0)), 3.5) + 0.3;
    const least = cases.sure.reduce((/** @type {number} */ most, value) => Math.min(most, logit(value ?? 0.5)), 0) - 0.1;
    const x = (/** @type {number} */ sure) => (logit(sure) - least) / (surest - least);
    const y = (/** @type {number | null} */ size) => {
      if (size === null) return top / 2;
      const share = Math.min(1, Math.max(0, (spread(size) - low) / (high - low) || 0));
      return top + (1 - top) * (up > 0 ? 1 - share : share);
    };
    return { x, y, never, ticks: ticks(low, high, axis.log).map((value) => value / axis.per),
             points: cases.flip.map((size, row) => /** @type {[number, number]} */ ([x(cases.sure[row] ?? 0.5), y(size)])) };
  };

  /** The scatter, drawn into a canvas of its own.
   * @param {CaseBlock} block @param {(row: number) => void} choose @param {(box: Box | null) => void} enclose
   * @param {AbortSignal} signal */
  const scatter = (block, choose, enclose, signal) => {
    const { axis, cases } = block, plot = scaled(block);
    const canvas = element("canvas", { class: "case-scatter", tabindex: 0, role: "application", "aria-label":
      `Scatter of ${cases.id.length} cases: to the right the surer, upwards the steadier. Arrow keys choose a case, ` +
      "Shift with arrow keys draws a box around it, Escape removes the box." });
    /** @type {Showing} */
    let showing = { size: NaN, row: -1, box: null, shown: new Set() };
    /** @type {Box | null} */
    let drag = null;
    /** The cases, drawn once for all moves of the handle and choices among them; `painted` what it shows.
     * @type {Set<number> | null} */
    let painted = null;
    const layer = element("canvas");
    const inner = () => ({ width: canvas.clientWidth - EDGE.left - EDGE.right,
                           height: canvas.clientHeight - EDGE.top - EDGE.bottom });
    const place = (/** @type {number} */ row) => {
      const { width, height } = inner(), [x, y] = plot.points[row];
      return [EDGE.left + x * width, EDGE.top + y * height];
    };

    const draw = () => {
      const brush = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")), { width, height } = inner();
      if (width <= 0) return;
      const dots = devicePixelRatio || 1, style = getComputedStyle(canvas);
      const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim() || style.color;
      canvas.width = canvas.clientWidth * dots;
      canvas.height = canvas.clientHeight * dots;
      brush.setTransform(dots, 0, 0, dots, 0, 0);
      brush.font = `12px ${style.fontFamily}`;
      const right = EDGE.left + width, bottom = EDGE.top + height;
      const line = (/** @type {number} */ y, /** @type {string} */ name, /** @type {number[]} */ dash = []) => {
        brush.strokeStyle = colour(name);
        brush.setLineDash(dash);
        brush.beginPath();
        brush.moveTo(EDGE.left, y);
        brush.lineTo(right, y);
        brush.stroke();
        brush.setLineDash([]);
      };
      const write = (/** @type {string} */ words, /** @type {number} */ x, /** @type {number} */ y,
                     /** @type {CanvasTextAlign} */ align, name = "soft") => {
        brush.textAlign = align;
        brush.lineWidth = 4;
        brush.lineJoin = "round";
        brush.strokeStyle = colour("ground");
        brush.strokeText(words, x, y);
        brush.fillStyle = colour(name);
        brush.fillText(words, x, y);
        brush.lineWidth = 1;
      };
      const steady = colour("steady"), flipped = colour("flipped"), many = cases.id.length > MANY;
      const mark = (/** @type {CanvasRenderingContext2D} */ brush, /** @type {number} */ row) => {
        const [x, y] = place(row), wrong = cases.truth[row] !== null && cases.truth[row] !== cases.read[row];
        brush.beginPath();
        if (wrong) {
          brush.moveTo(x - 3.5, y - 3.5); brush.lineTo(x + 3.5, y + 3.5);
          brush.moveTo(x - 3.5, y + 3.5); brush.lineTo(x + 3.5, y - 3.5);
          brush.strokeStyle = flipped;
          brush.lineWidth = 1.8;
          brush.stroke();
          brush.lineWidth = 1;
          return;
        }
        brush.fillStyle = steady;
        if (many) brush.fillRect(x - 1.5, y - 1.5, 3, 3);
        else {
          brush.arc(x, y, 3.2, 0, 7);
          brush.fill();
        }
      };
      const at = (/** @type {number | null} */ size) => EDGE.top + plot.y(size) * height;
      const handle = Number.isFinite(showing.size) ? at(showing.size) : bottom;
      brush.globalAlpha = 0.07;
      brush.fillStyle = colour("flipped");
      brush.fillRect(EDGE.left, handle, width, bottom - handle);
      brush.globalAlpha = 1;
      for (const tick of plot.ticks) {
        line(at(tick), "line");
        if (!plot.never || at(tick) > at(null) + 14) write(plain(tick * axis.per), EDGE.left - 8, at(tick) + 4, "right");
      }
      if (plot.never) write("none", EDGE.left - 8, at(null) + 4, "right");
      let last = -99;
      for (const tick of TICKS) {
        const x = EDGE.left + plot.x(tick) * width, words = `${+(100 * tick).toPrecision(7)}`;
        if (x < EDGE.left - 1 || x > right || x - last < 30 + 4 * words.length) continue;
        write(last < 0 ? united(words, "%") : words, x, bottom + 17, "center");
        last = x;
      }
      write("how sure the network is of its read", EDGE.left + width / 2, bottom + 37, "center");
      if (painted !== showing.shown) {
        painted = showing.shown;
        [layer.width, layer.height] = [canvas.width, canvas.height];
        const over = /** @type {CanvasRenderingContext2D} */ (layer.getContext("2d"));
        over.setTransform(dots, 0, 0, dots, 0, 0);
        for (const whole of [0.12, 0.8]) {
          over.globalAlpha = whole;
          for (let row = 0; row < cases.id.length; row++) if (painted.has(row) === whole > 0.5) mark(over, row);
        }
      }
      brush.setTransform(1, 0, 0, 1, 0, 0);
      brush.drawImage(layer, 0, 0);
      brush.setTransform(dots, 0, 0, dots, 0, 0);
      if (block.noise && axis.kind === "flip") {
        line(at(block.noise), "soft", [2, 4]);
        write(`noise in the images, ${sized(block.noise * axis.per, axis.unit)}`, EDGE.left + 6, at(block.noise) - 6, "left");
      }
      if (Number.isFinite(showing.size)) {
        line(handle, "flipped");
        brush.font = `600 12px ${style.fontFamily}`;
        write(sized(showing.size * axis.per, axis.unit), right - 6, handle + 16, "right", "flipped");
      }
      if (showing.row >= 0) {
        const [x, y] = place(showing.row);
        brush.lineWidth = 2;
        brush.strokeStyle = colour("ink");
        brush.beginPath();
        brush.arc(x, y, 8.5, 0, 7);
        brush.stroke();
      }
      const box = drag ?? showing.box;
      if (box) {
        brush.lineWidth = 1;
        brush.strokeStyle = brush.fillStyle = colour("ink");
        const frame = /** @type {const} */ ([EDGE.left + box[0] * width, EDGE.top + box[2] * height,
                                             (box[1] - box[0]) * width, (box[3] - box[2]) * height]);
        brush.strokeRect(...frame);
        brush.globalAlpha = 0.06;
        brush.fillRect(...frame);
        brush.globalAlpha = 1;
      }
    };

    /** @param {PointerEvent} event */
    const share = (event) => {
      const { width, height } = inner(), within = (/** @type {number} */ part) => Math.min(1.02, Math.max(-0.02, part));
      return [within((event.offsetX - EDGE.left) / width), within((event.offsetY - EDGE.top) / height)];
    };
    /** @param {PointerEvent} event */
    const nearest = (event) => {
      let best = -1, least = NEAR ** 2;
      for (let row = 0; row < cases.id.length; row++) {
        const [x, y] = place(row);
        const far = (x - event.offsetX) ** 2 + (y - event.offsetY) ** 2 + (showing.shown.has(row) ? 0 : 40);
        if (far < least) [best, least] = [row, far];
      }
      return best;
    };
    /** @type {[number, number, number, number] | null} */
    let start = null;
    canvas.addEventListener("pointerdown", (event) => {
      const [x, y] = share(event);
      start = [event.offsetX, event.offsetY, x, y];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!start) {
        const row = nearest(event);
        canvas.style.cursor = row < 0 ? "crosshair" : "pointer";
        canvas.title = row < 0 ? "" : cases.id[row];
        return;
      }
      if (!drag && Math.hypot(event.offsetX - start[0], event.offsetY - start[1]) < DRAGGED) return;
      const [x, y] = share(event);
      drag = [Math.min(x, start[2]), Math.max(x, start[2]), Math.min(y, start[3]), Math.max(y, start[3])];
      draw();
    });
    canvas.addEventListener("pointerup", (event) => {
      const box = drag, row = nearest(event);
      start = drag = null;
      if (box) enclose(box);
      else if (row >= 0) choose(row);
    });
    canvas.addEventListener("pointercancel", () => { start = drag = null; draw(); });

    canvas.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (event.key === "Escape" && showing.box) enclose(null);
      else if (!way || showing.row < 0) return;
      else if (event.shiftKey) {
        const [x, y] = plot.points[showing.row], [left, right, top, bottom] = showing.box ?? [x, x, y, y];
        const [across, down] = way.map((step) => step * GROWN);
        enclose([left + Math.min(0, across), right + Math.max(0, across), top + Math.min(0, down) - (showing.box ? 0 : GROWN / 2),
                 bottom + Math.max(0, down) + (showing.box ? 0 : GROWN / 2)]);
      } else {
        const [x, y] = plot.points[showing.row];
        let best = -1, least = Infinity;
        for (const row of showing.shown) {
          const across = plot.points[row][0] - x, down = plot.points[row][1] - y;
          const along = across * way[0] + down * way[1], aside = Math.abs(across * way[1]) + Math.abs(down * way[0]);
          if (along > 1e-9 && along + 3 * aside < least) [best, least] = [row, along + 3 * aside];
        }
        if (best >= 0) choose(best);
      }
      event.preventDefault();
      event.stopPropagation();
    });
    const anew = () => { painted = null; draw(); };
    new ResizeObserver(anew).observe(canvas);
    document.addEventListener("steadyread:theme", anew, { signal });
    matchMedia("print").addEventListener("change", anew, { signal });
    return { canvas, points: plot.points, show: (/** @type {Showing} */ next) => { showing = next; draw(); } };
  };

  return scatter;
})();
