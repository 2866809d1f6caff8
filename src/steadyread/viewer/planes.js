// @ts-check
/**
 * The image of a case in its planes, which share one crosshair, with the change or the attention laid over: three of a
 * volume, one of an image. No library: 2.4 MB of WebGL and WebAssembly for what three canvases show under the strict
 * policy of this page.
 *
 * @typedef {{image: Float32Array, change: Float32Array, maps: Record<string, Uint8Array>}} Layers
 */
const casePlanes = (() => {
  "use strict";
  const { element, sized, first } = caseData;
  const COLD = [63, 155, 224], WARM = [239, 122, 60], NAMES = ["Axial", "Coronal", "Sagittal"];

  /** @param {CaseBlock} block @param {number[] | null} spacing in mm, an axis each */
  const planes = (block, spacing) => {
    const shape = block.shape ?? [1, 1], flat = shape.length < 3, [depth, height, width] = flat ? [1, ...shape] : shape;
    const cells = depth * height * width, channels = block.channels ?? 1, sides = spacing?.length === shape.length ? spacing : shape.map(() => 1);
    const [tall, high, wide] = flat ? [1, ...sides] : sides;
    const at = [depth >> 1, height >> 1, width >> 1];     // the crosshair: slice, row, column
    let { low, high: top } = first(block);
    /** @type {Layers | null} */
    let layers = null;

    const value = element("p", { class: "planes-value", "aria-live": "polite" });
    const over = element("select", { onchange: () => draw() });
    const part = element("input", { type: "range", min: 0, max: 100, value: 60, oninput: () => draw() });
    const changed = element("input", { type: "checkbox", onchange: () => draw() });

    /** A plane: the axes that run down and across, and the one along which it lies. @param {number} along */
    const pane = (along) => {
      const [down, across] = [[1, 2], [0, 2], [0, 1]][along], size = [depth, height, width];
      const canvas = element("canvas", { width: size[across], height: size[down], tabindex: 0, role: "img" });
      canvas.style.aspectRatio = `${size[across] * [tall, high, wide][across]} / ${size[down] * [tall, high, wide][down]}`;
      /** @param {PointerEvent} event */
      const point = (event) => {
        if (!event.buttons && event.type === "pointermove") return;
        at[across] = Math.min(size[across] - 1, Math.max(0, Math.floor((event.offsetX / canvas.clientWidth) * size[across])));
        at[down] = Math.min(size[down] - 1, Math.max(0, Math.floor((event.offsetY / canvas.clientHeight) * size[down])));
        draw();
      };
      canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); point(event); });
      canvas.addEventListener("pointermove", point);
      const step = (/** @type {number} */ axis, /** @type {number} */ by) => {
        at[axis] = Math.min(size[axis] - 1, Math.max(0, at[axis] + by));
        draw();
      };
      canvas.addEventListener("wheel", (event) => { if (!flat) { event.preventDefault(); step(along, Math.sign(event.deltaY)); } }, { passive: false });
      canvas.addEventListener("keydown", (event) => {
        const way = { ArrowLeft: [across, -1], ArrowRight: [across, 1], ArrowUp: [down, -1], ArrowDown: [down, 1],
                      PageUp: [along, -1], PageDown: [along, 1] }[event.key];
        if (!way) return;
        event.preventDefault();
        event.stopPropagation();
        step(way[0], way[1]);
      });
      const name = flat ? "Image" : NAMES[along], label = element("figcaption");
      const frame = element("div", { class: flat ? "plane" : "plane crossed" }, canvas);
      return { canvas, frame, down, across, along, size, name, label, whole: element("figure", {}, frame, label) };
    };
    const panes = (flat ? [0] : [0, 1, 2]).map(pane);

    const place = (/** @type {number[]} */ where) => (where[0] * height + where[1]) * width + where[2];
    const draw = () => {
      if (!layers) return;
      const { image, change, maps } = layers, map = maps[over.value], opaque = Number(part.value) / 100, shade = 255 / (top - low);
      const most = over.value === "change" ? change.reduce((far, each) => Math.max(far, Math.abs(each)), 0) || 1 : 255;
      for (const { canvas, frame, down, across, along, size, name, label } of panes) {
        const brush = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")), drawn = brush.createImageData(canvas.width, canvas.height);
        const where = [...at];
        for (let row = 0, pixel = 0; row < size[down]; row++) for (let column = 0; column < size[across]; column++, pixel++) {
          [where[down], where[across]] = [row, column];
          const cell = place(where), amount = map ? map[cell] : over.value === "change" ? change[cell] : 0;
          const cover = (Math.abs(amount) / most) * opaque, ink = amount < 0 ? COLD : WARM;
          for (let channel = 0; channel < 3; channel++) {
            const from = (channel % channels) * cells + cell, grey = (image[from] + (changed.checked ? change[from] : 0) - low) * shade;
            drawn.data[4 * pixel + channel] = Math.min(255, Math.max(0, grey)) * (1 - cover) + ink[channel] * cover;
          }
          drawn.data[4 * pixel + 3] = 255;
        }
        brush.putImageData(drawn, 0, 0);
        frame.style.setProperty("--x", `${(100 * (at[across] + 0.5)) / size[across]}%`);
        frame.style.setProperty("--y", `${(100 * (at[down] + 0.5)) / size[down]}%`);
        label.textContent = flat ? "" : `${name} ${at[along] + 1} of ${size[along]}`;
        canvas.setAttribute("aria-label", label.textContent || name);
      }
      const here = place(at), moved = change[here];
      value.textContent = `${flat ? "" : `slice ${at[0] + 1}, `}row ${at[1] + 1}, column ${at[2] + 1}: ${sized(image[here], block.unit)}, change ` +
        `${moved > 0 ? "+" : ""}${sized(moved, block.unit)}${map ? `, attention ${Math.round((100 * map[here]) / 255)} % of its largest` : ""}`;
    };

    /** @param {Layers} next */
    const show = (next) => {
      const kept = over.value || (flat ? Object.keys(next.maps)[0] : "none");
      layers = next;
      const names = [["none", "no overlay"], ["change", "the change"], ...Object.keys(next.maps).map((name) => [name, `attention, ${name}`])];
      over.replaceChildren(...names.map(([name, words]) => element("option", { value: name }, words)));
      over.value = names.some(([name]) => name === kept) ? kept : "none";
      draw();
    };
    const whole = element("section", { class: "planes", "aria-label": flat ? "Image with overlay" : "Volume in three planes" },
      element("div", { class: flat ? "planes-panes flat" : "planes-panes" }, ...panes.map((each) => each.whole)), value,
      element("div", { class: "case-tools" }, element("label", {}, "Overlay ", over), element("label", {}, "Strength ", part),
        element("label", {}, changed, " changed image")));
    /** The window of the viewer above is that of the planes. @param {number} least @param {number} most */
    const framed = (least, most) => { [low, top] = [least, most]; draw(); };
    return { whole, show, framed };
  };

  return planes;
})();
