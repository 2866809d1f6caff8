// @ts-check
/** The dark viewer of one case: original, change and changed beside each other, and what the network says along the way. */
const caseViewer = (() => {
  "use strict";
  const { element, number, plain, united, sized, percent, quantile, first, rounded } = caseData;
  const COLD = [63, 155, 224], WARM = [239, 122, 60], BLINK = 500, SMALL = 96, DRAG = 400;

  /** The largest change that the colours of all cases tell apart, native units. @param {CaseBlock} block */
  const common = (block) => {
    const doses = block.pixels?.change.scale;
    if (doses) return rounded(quantile(doses.map((sizes) => 64 * Math.max(...sizes)).sort((first, second) => first - second), 0.9));
    const sizes = block.cases.flip.filter((size) => size !== null).sort((first, second) => Number(first) - Number(second));
    return rounded(quantile(/** @type {number[]} */ (sizes), 0.75) || 1);
  };

  /** @param {CaseSource} source @param {(step: number) => void} move to another case @param {AbortSignal} signal */
  const viewer = (source, move, signal) => {
    const { block } = source, { axis, cases, classes, bounds } = block, dose = axis.kind === "dose";
    const shape = block.shape ?? [1, 1], channels = block.channels ?? 1;
    const [height, width] = shape.slice(-2), depth = shape.length > 2 ? shape[0] : 1, plane = height * width;
    const walk = caseWalk(block), stops = walk.values.length;
    const presets = block.windows.length ? block.windows : [{ name: "full", low: bounds[0], high: bounds[1] }];
    const shared = common(block);
    let row = -1, at = 0, slice = depth >> 1, blinking = 0, alike = false;
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
      dose ? { min: 0, max: Math.max(0, stops - 1), step: 1 } : { min: 0, max: 200, step: 1, value: 100 },
      () => { at = Number(size.input.value); draw(); });
    const slices = range("Slice", { min: 1, max: depth, step: 1, value: slice + 1 },
      () => { slice = Number(slices.input.value) - 1; draw(); });
    const darkest = Math.min(bounds[0], ...presets.map((preset) => preset.low));
    const lightest = Math.max(bounds[1], ...presets.map((preset) => preset.high));
    const places = Math.max(0, 2 - Math.floor(Math.log10((bounds[1] - bounds[0]) / 100)));
    const reach = lightest - darkest, fine = reach > 100 ? 1 : reach / 200;
    const level = range("Level", { min: darkest, max: lightest, step: fine }, () => framed(Number(level.input.value), high - low));
    const wide = range("Width", { min: fine, max: reach, step: fine }, () => framed((low + high) / 2, Number(wide.input.value)));
    const presetChoice = element("select", { onchange: () => {
      const preset = presets[Number(presetChoice.value)];
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
    const scale = toggle("Same colours for all", (on) => { alike = on; draw(); });
    scale.title = "The colours of the change: as large as this case's own, or one scale for all cases";
    let turned = false;

    /** Where the slider stands, among the stops. */
    const where = () => (dose ? at : walk.place(at / 100));
    /** Native units of a step of the change, where the slider stands. */
    const unit = () => (picture ? picture.size[dose ? walk.order[at] ?? 0 : 0] * (dose ? 1 : at / 100) : 0);
    const most = () => (picture ? picture.steps.reduce((far, step) => Math.max(far, Math.abs(step)), 0) : 0);
    /** What the brightest colour stands for: this case's largest change, at its flip or beyond; or the same of all cases. */
    const brightest = () => ((!alike && picture && most() * Math.max(unit(), dose ? 0 : picture.size[0])) || shared);

    const draw = () => {
      if (row < 0) return;
      const now = picture && stops ? walk.chances(picture, where()) : [], flip = cases.flip[row], read = cases.read[row];
      const edge = !dose && at === 100 && flip !== null;
      // Where a read flips, two classes are alike to within the rounding of what is stored: the other one is named.
      const speaks = walk.readOf(now, edge ? read : null), flipped = now.length > 0 && speaks !== read;
      const amount = dose ? walk.values[at] ?? 0 : ((flip ?? 0) * at) / 100;
      size.output.textContent = !dose && flip === null ? "no change was found that flips this read"
        : `${sized(amount * axis.per, axis.unit)}${edge ? ": flips here" : flipped ? ": flipped" : ""}`;
      const words = now.length ? `, ${classes[speaks]} ${percent(now[speaks], 1)}` : "";
      size.input.setAttribute("aria-valuetext", `${size.output.textContent}${words}`);
      slices.output.textContent = `${slice + 1} of ${depth}`;
      size.output.classList.toggle("flipped", flipped || edge);
      if (picture) paint(now, speaks, flipped);
      walk.draw(row, picture, where());
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
      ends[0].textContent = `−${number(bright)}`;
      ends[2].textContent = `+${number(bright)}${peak > bright * 1.001 ? " and more" : ""}`;
      panes.forEach((pane) => pane.canvas.setAttribute("aria-label", `${pane.label.textContent}: ${pane.says.textContent}`));
      point();
    };

    /** The values under the cursor, in all three images. */
    const point = () => {
      panes.forEach((pane) => { pane.value.textContent = ""; });
      if (!cursor || !picture) return;
      const [x, y] = cursor, amount = unit(), values = [[], [], []].map(() => /** @type {string[]} */ ([]));
      for (let channel = 0; channel < channels; channel++) {
        const from = (channel * depth + slice) * plane + y * width + x;
        const value = picture.image[from], change = picture.steps[from] * amount;
        values[0].push(plain(value));
        values[1].push(`${change > 0 ? "+" : ""}${number(change)}`);
        values[2].push(plain(Number(Math.min(bounds[1], Math.max(bounds[0], value + change)).toFixed(places))));
      }
      panes.forEach((pane, order) => {
        pane.value.textContent = united(values[order].join(" "), block.unit);
        pane.whole.style.setProperty("--x", `${(100 * (x + 0.5)) / width}%`);
        pane.whole.style.setProperty("--y", `${(100 * (y + 0.5)) / height}%`);
      });
      images.classList.add("pointed");
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
      presetChoice.value = String(known);
      draw();
      whole.dispatchEvent(new CustomEvent("steadyread:window", { detail: { low, high } }));
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
        const far = reach / DRAG;
        if (from) framed(from.middle + (event.clientY - from.y) * far, from.breadth + (event.clientX - from.x) * far);
        else {
          const within = (/** @type {number} */ part, /** @type {number} */ side) =>
            Math.min(side - 1, Math.max(0, Math.floor(part * side)));
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
      const values = panes.map((pane) => `${pane.name} ${pane.value.textContent}`);
      spoken.textContent = `Column ${cursor[0]}, row ${cursor[1]}: ${values.join(", ")}`;
    });

    const controls = [images, size.whole, walk.chart, ...(depth > 1 ? [slices.whole] : []),
      element("div", { class: "case-tools" }, element("label", {}, "Window ", presetChoice), blink, smooth, scale),
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
      about.textContent = [
        `truth: ${actual === null ? "unknown" : classes[actual]}`, `read: ${called === null ? "undecided" : classes[called]}`,
        ...(actual !== null && actual !== called ? ["✕ wrong"] : []), ...(patient[row] ? [patient[row]] : []),
        ...(fold[row] === null || fold[row] === undefined ? [] : [`fold ${fold[row]}`])].join(" · ");
      const fetched = await source.picture(next);
      if (next !== row) return;
      picture = fetched;
      at = dose ? Math.max(0, stops - 1) : 100;
      size.input.value = String(at);
      size.input.disabled = dose ? stops < 2 : cases.flip[row] === null;
      for (const each of controls) /** @type {HTMLElement} */ (each).hidden = !picture;
      walk.chart.toggleAttribute("hidden", !picture);
      absent.hidden = Boolean(picture);
      absent.textContent = block.pixels ? "The picture of this case is not in this file: steadyread view shows every case of a run."
        : "This file contains no images.";
      draw();
    };
    signal.addEventListener("abort", () => clearInterval(blinking));
    new ResizeObserver(() => walk.draw(row, picture, where())).observe(walk.chart);
    framed((low + high) / 2, high - low);
    return { whole, show, title, blink, stands: (/** @type {string} */ order) => { place.textContent = order; } };
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
        for (let channel = 0; channel < 3; channel++) {
          const value = picture.image[(channel % channels) * depth * height * width + pixel];
          small.data[4 * (y * side + x) + channel] = ((value - low) * 255) / (high - low);
        }
        small.data[4 * (y * side + x) + 3] = 255;
      }
      brush.putImageData(small, 0, 0);
    };
  };

  return { viewer, thumbs };
})();
