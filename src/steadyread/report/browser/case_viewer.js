// @ts-check
/** The dark viewer of one case: original, change and changed beside each other, and what the network says along the way. */
const caseViewer = (() => {
  "use strict";
  const { element, number, plain, united, sized, percent, quantile, first, rounded } = caseData;
  const COLD = [63, 155, 224], WARM = [239, 122, 60], BLINK = 500, SMALL = 96;
  const SVG = "http://www.w3.org/2000/svg", HEIGHT = 96, BELOW = 22, ROOM = 8;

  /** @param {string} tag @param {Record<string, string | number>} attributes @param {string} [words] */
  const drawn = (tag, attributes, words = "") => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
    made.textContent = words;
    return made;
  };

  /** The largest change that the colours of all cases tell apart, native units. @param {CaseBlock} block */
  const common = (block) => {
    const doses = block.pixels?.change.scale;
    if (doses) return rounded(quantile(doses.map((sizes) => 64 * Math.max(...sizes)).sort((one, other) => one - other), 0.9));
    const sizes = block.cases.flip.filter((size) => size !== null).sort((one, other) => Number(one) - Number(other));
    return rounded(quantile(/** @type {number[]} */ (sizes), 0.75) || 1);
  };

  /** The class that probabilities speak for. @param {CaseBlock} block @param {ArrayLike<number>} chances */
  const readOf = (block, chances) => {
    if (block.positive !== null && chances.length === 2)
      return chances[block.positive] >= block.threshold ? block.positive : 1 - block.positive;
    return Array.from(chances).reduce((best, chance, at) => (chance > chances[best] ? at : best), 0);
  };

  /** @param {CaseSource} source @param {(step: number) => void} move to another case @param {AbortSignal} signal */
  const viewer = (source, move, signal) => {
    const { block } = source, { axis, cases, classes, bounds, walk } = block, dose = axis.kind === "dose";
    const shape = block.shape ?? [1, 1], channels = block.channels ?? 1;
    const [height, width] = shape.slice(-2), depth = shape.length > 2 ? shape[0] : 1, plane = height * width;
    const stops = (walk?.at ?? []).map((_, at) => at);
    if (dose) stops.sort((one, other) => (walk?.at[other] ?? 0) - (walk?.at[one] ?? 0));    // from little noise to much
    const presets = block.windows.length ? block.windows : [{ name: "full", low: bounds[0], high: bounds[1] }];
    const shared = common(block);
    let row = -1, at = 0, slice = depth >> 1, blinking = 0, own = false;
    let { low, high } = first(block);
    /** @type {Picture | null} */
    let picture = null;
    /** @type {[number, number] | null} */
    let cursor = null;

    const title = element("h3", { tabindex: -1 }), about = element("p", { class: "case-about" });
    const place = element("span", { class: "case-place" });
    const panes = ["Original", "Change", "Changed"].map((name) => {
      const canvas = element("canvas", { width, height, role: "img" }), value = element("span", { class: "case-value" });
      const label = element("b", {}, name), says = element("span");
      return { name, canvas, value, label, says, whole:
        element("figure", {}, element("div", { class: "case-pane" }, canvas, value), element("figcaption", {}, label, says)) };
    });
    const ends = [element("span"), element("span", {}, "0"), element("span")];
    panes[1].whole.append(element("div", { class: "case-colours" }), element("div", { class: "case-ends" }, ...ends));
    const spoken = element("p", { class: "unseen", "aria-live": "polite" });
    const images = element("div", { class: "case-panes", tabindex: 0, role: "group", "aria-label":
      "Images. Shift with arrow keys reads the value of a pixel; up and down change the slice of a volume." },
      ...panes.map((pane) => pane.whole));
    const absent = element("p", { class: "case-absent" });

    /** @param {string} name @param {Record<string, any>} attributes @param {() => void} changed */
    const range = (name, attributes, changed) => {
      const input = element("input", { type: "range", ...attributes, oninput: changed }), output = element("output");
      return { input, output, whole: element("label", { class: "case-range" }, element("span", {}, name), input, output) };
    };
    const size = range(`${axis.title.slice(0, 1).toUpperCase()}${axis.title.slice(1)}`,
      dose ? { min: 0, max: Math.max(0, stops.length - 1), step: 1 } : { min: 0, max: 200, step: 1, value: 100 },
      () => { at = Number(size.input.value); draw(); });
    const slices = range("Slice", { min: 1, max: depth, step: 1, value: slice + 1 },
      () => { slice = Number(slices.input.value) - 1; draw(); });
    const [darkest, lightest] = [Math.min(bounds[0], ...presets.map((preset) => preset.low)), Math.max(bounds[1], ...presets.map((preset) => preset.high))];
    const reach = lightest - darkest, fine = reach > 100 ? 1 : reach / 200;
    const level = range("Level", { min: darkest, max: lightest, step: fine }, () => framed(Number(level.input.value), high - low));
    const wide = range("Width", { min: fine, max: reach, step: fine }, () => framed((low + high) / 2, Number(wide.input.value)));
    const window_ = element("select", { onchange: () => {
      const preset = presets[Number(window_.value)];
      if (preset) framed((preset.low + preset.high) / 2, preset.high - preset.low);
    } }, ...presets.map((preset, order) => element("option", { value: order },
      `${preset.name}, ${plain(preset.low)} to ${united(plain(preset.high), block.unit)}`)),
      element("option", { value: -1, disabled: "" }, "own"));
    /** @param {string} name @param {(pressed: boolean) => void} changed @param {boolean} [pressed] */
    const toggle = (name, changed, pressed = false) => {
      const button = element("button", { type: "button", "aria-pressed": pressed, onclick: () => {
        const now = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(now));
        changed(now);
      } }, name);
      return button;
    };
    const blink = toggle("Blink", (on) => {
      clearInterval(blinking);
      blinking = on ? setInterval(() => { turned = !turned; draw(); }, BLINK) : 0;
      turned = on;
      draw();
    });
    blink.append(" ", element("kbd", {}, "B"));
    const smooth = toggle("Smooth", (on) => images.classList.toggle("smooth", on), plane > SMALL ** 2);
    images.classList.toggle("smooth", plane > SMALL ** 2);
    const scale = toggle("Own colour scale", (on) => { own = on; draw(); });
    scale.title = "One colour scale for all cases, or one as large as this case's change";
    const chart = drawn("svg", { height: HEIGHT + BELOW, "aria-hidden": "true", class: "case-walk" });
    let turned = false;

    /** The share of the way to the next stop, and the stop. @param {number} value */
    const between = (value) => {
      const stop = walk?.at ?? [0], ordered = stops.map((order) => stop[order]);
      let next = ordered.findIndex((each) => (dose ? each <= value : each >= value));
      if (next < 0) next = ordered.length - 1;
      const before = Math.max(0, next - 1), far = ordered[next] - ordered[before];
      return { before, next, share: far ? (value - ordered[before]) / far : 0 };
    };
    /** The probabilities where the slider stands. @returns {number[]} */
    const chances = () => {
      if (!picture || !walk) return [];
      const { walk: along } = picture, { before, next, share } = dose ? { before: at, next: at, share: 0 } : between(at / 100);
      return classes.map((_, each) => {
        const [one, other] = [before, next].map((stop) => along[stops[stop] * classes.length + each]);
        return one + (other - one) * share;
      });
    };
    /** Native units of a step of the change, where the slider stands. */
    const unit = () => (picture ? picture.size[dose ? stops[at] ?? 0 : 0] * (dose ? 1 : at / 100) : 0);
    const most = () => (picture ? picture.steps.reduce((far, step) => Math.max(far, Math.abs(step)), 0) : 0);
    /** What the brightest colour stands for: the same of all cases, or this one's change at twice its flip. */
    const brightest = () => (own && picture ? most() * (dose ? unit() : 2 * picture.size[0]) || 1 : shared);

    const draw = () => {
      if (row < 0) return;
      const now = chances(), read = cases.read[row], speaks = readOf(block, now), size_ = cases.flip[row];
      const flipped = now.length > 0 && speaks !== read, edge = !dose && at === 100;
      if (dose) size.output.textContent = `${sized((walk?.at[stops[at]] ?? 0) * axis.per, axis.unit)}${flipped ? ": flipped" : ""}`;
      else size.output.textContent = size_ === null ? "no change was found that flips this read"
        : `${sized((size_ * at * axis.per) / 100, axis.unit)}${edge ? ": flips here" : flipped ? ": flipped" : ""}`;
      size.input.setAttribute("aria-valuetext", `${size.output.textContent}${now.length ? `, ${classes[speaks]} ${percent(now[speaks], 1)}` : ""}`);
      slices.output.textContent = `${slice + 1} of ${depth}`;
      size.output.classList.toggle("flipped", flipped || edge);
      if (picture) paint(now, speaks, flipped);
      along();
    };

    /** @param {number[]} now @param {number} speaks @param {boolean} flipped */
    const paint = (now, speaks, flipped) => {
      if (!picture) return;
      const { image, steps } = picture, amount = unit(), bright = brightest();
      const [first, second, third] = panes.map((pane) => {
        const brush = /** @type {CanvasRenderingContext2D} */ (pane.canvas.getContext("2d"));
        return { brush, data: brush.createImageData(width, height) };
      });
      const volume = depth * plane, start = slice * plane, shade = 255 / (high - low), sure = cases.sure[row];
      for (let pixel = 0; pixel < plane; pixel++) {
        let far = 0;
        for (let channel = 0; channel < 3; channel++) {
          const from = (channel % channels) * volume + start + pixel, change = steps[from] * amount;
          if (Math.abs(change) > Math.abs(far)) far = change;
          first.data.data[4 * pixel + channel] = (image[from] - low) * shade;
          third.data.data[4 * pixel + channel] = (Math.min(bounds[1], Math.max(bounds[0], image[from] + change)) - low) * shade;
        }
        const ink = far < 0 ? COLD : WARM, part = Math.min(1, Math.abs(far) / bright);
        for (let channel = 0; channel < 3; channel++) second.data.data[4 * pixel + channel] = ink[channel] * part;
        for (const each of [first, second, third]) each.data.data[4 * pixel + 3] = 255;
      }
      if (turned) third.data.data.set(first.data.data);
      for (const each of [first, second, third]) each.brush.putImageData(each.data, 0, 0);
      const peak = most() * amount;
      const before = cases.read[row] === null ? "undecided" : classes[Number(cases.read[row])];
      const original = sure === null ? before : `${before} ${percent(sure, 1)}`;
      const after = now.length ? `${classes[speaks]} ${percent(now[speaks], 1)}` : "";
      panes[0].says.textContent = original;
      panes[1].says.textContent = `up to ±${sized(peak, block.unit)}`;
      panes[2].label.textContent = turned ? "Original" : "Changed";
      panes[2].says.textContent = turned ? original : flipped ? `✕ ${after}` : after;
      panes[2].says.classList.toggle("flipped", flipped && !turned);
      ends[0].textContent = `−${plain(bright)}`;
      ends[2].textContent = `+${united(plain(bright), block.unit)}${peak > bright ? " and more" : ""}`;
      panes.forEach((pane) => pane.canvas.setAttribute("aria-label", `${pane.label.textContent}: ${pane.says.textContent}`));
      point();
    };

    /** The values under the cursor, in all three images. */
    const point = () => {
      panes.forEach((pane) => { pane.value.textContent = ""; });
      if (!cursor || !picture) return;
      const [x, y] = cursor, amount = unit(), values = [[], [], []].map(() => /** @type {string[]} */ ([]));
      for (let channel = 0; channel < channels; channel++) {
        const from = channel * depth * plane + slice * plane + y * width + x, value = picture.image[from], change = picture.steps[from] * amount;
        values[0].push(plain(value));
        values[1].push(`${change > 0 ? "+" : ""}${number(change)}`);
        values[2].push(plain(Math.min(bounds[1], Math.max(bounds[0], value + change))));
      }
      panes.forEach((pane, order) => {
        pane.value.textContent = united(values[order].join(" "), block.unit);
        pane.whole.style.setProperty("--x", `${(100 * (x + 0.5)) / width}%`);
        pane.whole.style.setProperty("--y", `${(100 * (y + 0.5)) / height}%`);
      });
      images.classList.add("pointed");
    };

    /** The probability along the way, and where the slider and the flip stand. */
    const along = () => {
      chart.replaceChildren();
      const size_ = cases.flip[row] ?? null;
      if (!picture || !walk || (!dose && size_ === null)) return;
      const { walk: chance } = picture, wide = chart.clientWidth || 600, count = stops.length - 1 || 1, pair = block.positive !== null && classes.length === 2;
      const x = (/** @type {number} */ part) => ROOM + part * (wide - 2 * ROOM), y = (/** @type {number} */ part) => 4 + (1 - part) * (HEIGHT - 8);
      const read = cases.read[row] ?? 0, rival = readOf(block, chance.slice(stops[count] * classes.length).slice(0, classes.length));
      const lines = pair ? [Number(block.positive)] : rival === read ? [read] : [read, rival];
      chart.append(drawn("path", { class: "grid", d: `M0 ${y(0)}H${wide}M0 ${y(1)}H${wide}` }));
      const final = chance[stops[count] * classes.length + lines[0]];
      if (pair) chart.append(drawn("path", { class: "grid dashed", d: `M0 ${y(block.threshold)}H${wide}` }),
        drawn("text", { x: wide - ROOM, y: y(block.threshold) + (final >= block.threshold ? 15 : -5), "text-anchor": "end" }, "threshold"));
      const where = dose && size_ !== null ? between(size_) : null;
      const share = where ? (where.before + where.share * (where.next - where.before)) / count : 0.5;
      if (size_ !== null) {
        chart.append(drawn("path", { class: "grid", d: `M${x(share)} 0V${HEIGHT}` }), drawn("text", { x: x(share), y: HEIGHT + 16,
          "text-anchor": share > 0.85 ? "end" : share < 0.15 ? "start" : "middle" }, `${dose ? "half of the draws flip at" : "flips at"} ${sized(size_ * axis.per, axis.unit)}`));
      }
      if (share > 0.3) chart.append(drawn("text", { x: ROOM, y: HEIGHT + 16 }, dose ? `${sized(walk.at[stops[0]] * axis.per, axis.unit)}` : "0"));
      if (share < 0.7) chart.append(drawn("text", { x: wide - ROOM, y: HEIGHT + 16, "text-anchor": "end" },
        sized(dose ? walk.at[stops[count]] * axis.per : 2 * Number(size_) * axis.per, axis.unit)));
      const mark = dose ? at / count : at / 200, now = chances();
      lines.forEach((each, order) => {
        const path = stops.map((stop, step) => `${step ? "L" : "M"}${x(step / count)} ${y(chance[stop * classes.length + each])}`).join("");
        chart.append(drawn("path", { class: order ? "line rival" : "line", d: path }));
        chart.append(drawn("circle", { class: "mark", cx: x(mark), cy: y(now[each]), r: 6 }));
      });
      // Words stand where the line is not: it ends on the other side of the threshold than it begins.
      const [begins, ends_] = [chance[stops[0] * classes.length + lines[0]], final], falls = begins > ends_;
      const label = (/** @type {number} */ each, /** @type {boolean} */ upper) => chart.append(drawn("text", {
        x: upper === falls ? wide - ROOM : ROOM, y: upper ? 16 : HEIGHT - 10, "text-anchor": upper === falls ? "end" : "start" },
        `${united("100", "%")} ${classes[each]}`));
      label(pair ? Number(block.positive) : read, true);
      if (pair) label(1 - Number(block.positive), false);
      else if (lines[1] !== undefined) chart.append(drawn("text", { x: wide - ROOM, y: HEIGHT - 10, "text-anchor": "end", class: "rival" }, classes[lines[1]]));
    };

    /** @param {number} middle @param {number} breadth */
    const framed = (middle, breadth) => {
      const broad = Math.min(reach, Math.max(fine, breadth)), centre = Math.min(lightest, Math.max(darkest, middle));
      [low, high] = [centre - broad / 2, centre + broad / 2];
      level.input.value = String(centre);
      wide.input.value = String(broad);
      level.output.textContent = united(plain(centre), block.unit);
      wide.output.textContent = united(plain(broad), block.unit);
      const known = presets.findIndex((preset) => Math.abs(preset.low - low) + Math.abs(preset.high - high) < 1e-6 * reach);
      window_.value = String(known);
      draw();
    };
    

    panes.forEach((pane) => {
      /** @type {{x: number, y: number, middle: number, breadth: number} | null} */
      let from = null;
      const { canvas } = pane;
      canvas.addEventListener("pointerdown", (event) => {
        if (event.pointerType === "touch" || event.button) return;
        from = { x: event.clientX, y: event.clientY, middle: (low + high) / 2, breadth: high - low };
        canvas.setPointerCapture(event.pointerId);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (from) framed(from.middle + ((event.clientY - from.y) * reach) / 400, from.breadth + ((event.clientX - from.x) * reach) / 400);
        else {
          const within = (/** @type {number} */ part, /** @type {number} */ side) => Math.min(side - 1, Math.max(0, Math.floor(part * side)));
          cursor = [within(event.offsetX / canvas.clientWidth, width), within(event.offsetY / canvas.clientHeight, height)];
          point();
        }
      });
      for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { from = null; });
      canvas.addEventListener("pointerleave", () => { if (!from) { cursor = null; images.classList.remove("pointed"); point(); } });
      canvas.addEventListener("dblclick", () => { ({ low, high } = first(block)); framed((low + high) / 2, high - low); });
    });
    images.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!way || (!event.shiftKey && (way[0] || depth === 1))) return;
      event.preventDefault();
      event.stopPropagation();
      if (!event.shiftKey) {
        slice = Math.min(depth - 1, Math.max(0, slice + way[1]));
        slices.input.value = String(slice + 1);
        return draw();
      }
      const [x, y] = cursor ?? [width >> 1, height >> 1];
      cursor = [Math.min(width - 1, Math.max(0, x + way[0])), Math.min(height - 1, Math.max(0, y + way[1]))];
      point();
      spoken.textContent = `Column ${cursor[0]}, row ${cursor[1]}: ${panes.map((pane) => `${pane.name} ${pane.value.textContent}`).join(", ")}`;
    });

    const controls = [images, size.whole, chart, ...(depth > 1 ? [slices.whole] : []),
      element("div", { class: "case-tools" }, element("label", {}, "Window ", window_), blink, smooth, scale),
      element("div", { class: "case-frame" }, level.whole, wide.whole)];
    const hint = element("p", { class: "case-hint" }, "Drag on an image for width and level, double-click to reset. ",
      element("kbd", {}, "←"), " ", element("kbd", {}, "→"), " other cases.");
    controls.push(hint);
    const whole = element("div", { class: "case-viewer", role: "region", "aria-label": "Viewer of one case" },
      element("div", { class: "case-head" }, title, place,
        element("button", { type: "button", "aria-label": "Previous case", onclick: () => move(-1) }, "←"),
        element("button", { type: "button", "aria-label": "Next case", onclick: () => move(1) }, "→")),
      about, absent, ...controls, spoken);

    /** @param {number} next @param {string} order where it stands among the shown */
    const show = async (next, order) => {
      place.textContent = order;
      if (next === row) return;
      row = next;
      const { truth, read, patient, fold } = cases, actual = truth[row], called = read[row];
      title.textContent = cases.id[row];
      about.textContent = [`truth: ${actual === null ? "unknown" : classes[actual]}`, `read: ${called === null ? "undecided" : classes[called]}`,
        ...(actual !== null && actual !== called ? ["✕ wrong"] : []), ...(patient[row] ? [patient[row]] : []),
        ...(fold[row] === null || fold[row] === undefined ? [] : [`fold ${fold[row]}`])].join(" · ");
      const fetched = await source.picture(next);
      if (next !== row) return;
      picture = fetched;
      at = dose ? Math.max(0, stops.length - 1) : 100;
      size.input.value = String(at);
      size.input.disabled = !dose && cases.flip[row] === null;
      for (const each of controls) /** @type {HTMLElement} */ (each).hidden = !picture;
      chart.toggleAttribute("hidden", !picture);
      absent.hidden = Boolean(picture);
      absent.textContent = block.pixels ? "The picture of this case is not in this file: steadyread view shows every case of a run."
        : "This file contains no images.";
      draw();
    };
    signal.addEventListener("abort", () => clearInterval(blinking));
    new ResizeObserver(() => along()).observe(chart);
    framed((low + high) / 2, high - low);
    return { whole, show, title, blink };
  };

  /** A small picture of a case in the first window. @param {CaseSource} source */
  const thumbs = (source) => {
    const { block } = source, shape = block.shape ?? [1, 1], channels = block.channels ?? 1;
    const [height, width] = shape.slice(-2), depth = shape.length > 2 ? shape[0] : 1, side = 36;
    const { low, high } = first(block);
    /** @param {HTMLCanvasElement} canvas @param {number} row */
    return async (canvas, row) => {
      const picture = await source.picture(row);
      if (!picture) return;
      canvas.width = canvas.height = side;
      const brush = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")), small = brush.createImageData(side, side);
      const start = (depth >> 1) * height * width;
      for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) {
        const pixel = start + Math.floor(((y + 0.5) * height) / side) * width + Math.floor(((x + 0.5) * width) / side);
        for (let channel = 0; channel < 3; channel++)
          small.data[4 * (y * side + x) + channel] = ((picture.image[(channel % channels) * depth * height * width + pixel] - low) * 255) / (high - low);
        small.data[4 * (y * side + x) + 3] = 255;
      }
      brush.putImageData(small, 0, 0);
    };
  };

  return { viewer, thumbs };
})();
