// @ts-check
/**
 * Charts come to life where they stand, drawn by Vega from the declaration that the drawing was made of: marks say their
 * numbers, and the width follows. A chart takes its drawing's place when it is drawn without error; the drawing stays for
 * print. Colours are the page's variables, so that light and dark need no drawing anew.
 *
 * @typedef {{title: string, percent: boolean, log: boolean, domain: number[]}} Axis
 * @typedef {{title: string, x: Axis, y?: Axis}} Panel
 * @typedef {{series?: string, x?: number, x2?: number, y?: number, low?: number, high?: number}} Row
 */
(() => {
  "use strict";
  const LEAST = 370;      // a narrower chart is drawn at this width and shown smaller
  const MOST = 560;
  const { vega } = /** @type {any} */ (globalThis);
  const block = document.getElementById("charts");
  if (!block || !vega || !globalThis.DecompressionStream) return;
  /** @type {Record<string, {vega: string, csv: string}>} */
  const charts = JSON.parse(block.textContent || "{}");

  /** @param {string} packed */
  const opened = (packed) => {
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
  };

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);

  /** @param {Axis} axis @param {(number | undefined)[]} values @returns {[string, string]} */
  const told = (axis, ...values) => {
    const [, name, unit] = /^(.*), ([^,()]+)$/.exec(axis.title) || ["", axis.title, ""];
    const words = values.filter((value) => Number.isFinite(value)).map(
      (value) => String(Number((Number(value) * (axis.percent ? 100 : 1)).toPrecision(4))));
    return [name, `${words.join(" to ")}${unit ? `\u202f${unit}` : ""}`];
  };

  /** @param {Panel} panel @param {Row} row */
  const lines = (panel, row) => {
    const shown = [told(panel.x, row.x, row.x2)];
    if (panel.y) shown.push(told(panel.y, row.y));
    if (Number.isFinite(row.low) && Number.isFinite(row.high))
      shown.push(["95\u00a0% interval", told(panel.y || panel.x, row.low, row.high)[1]]);
    return shown;
  };

  /** @param {Panel[]} panels */
  const teller = (panels) => (/** @type {any} */ _, /** @type {PointerEvent} */ event, /** @type {any} */ item,
    /** @type {Row | null} */ row) => {
    tip.hidden = !row;
    if (!row) return;
    const panel = panels[Number(item.mark.name.split("_")[1])];
    const head = document.createElement("b");
    head.textContent = row.series || panel.title;
    tip.replaceChildren(head);
    for (const [name, value] of lines(panel, row)) {
      const line = document.createElement("span");
      line.textContent = `${name}: ${value}`;
      tip.append(line);
    }
    const { clientX: x, clientY: y } = event;
    tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${y + tip.offsetHeight + 24 > innerHeight ? y - tip.offsetHeight - 12 : y + 16}px`;
  };

  /** @param {SVGElement} drawing @param {string} packed */
  const enliven = async (drawing, packed) => {
    const spec = JSON.parse(await opened(packed));
    const place = document.createElement("div");
    place.className = "live";
    const options = { expr: vega.expressionInterpreter, renderer: "svg", container: place, logLevel: 0 };
    const view = new vega.View(vega.parse(spec, null, { ast: true }), options).tooltip(teller(spec.usermeta.panels));
    await document.fonts.ready;
    const follows = spec.autosize && spec.autosize.type === "fit" && typeof spec.width === "number";
    const fitted = () => Math.round(Math.min(MOST, Math.max(LEAST, (drawing.parentElement || drawing).clientWidth)));
    if (follows) view.width(fitted());
    await view.runAsync();
    const drawn = place.querySelector("svg");
    if (!drawn || /NaN|undefined/.test(drawn.outerHTML)) throw new Error(`${drawing.id} could not be drawn`);
    drawn.setAttribute("role", "img");
    drawn.setAttribute("aria-label", drawing.getAttribute("aria-label") || "");
    drawing.after(place);
    drawing.classList.add("replaced");
    if (!follows) {      // several panels: on a phone they scroll, with their letters as they are
      drawn.style.setProperty("--natural", `${drawn.viewBox.baseVal.width}px`);
      if (place.scrollWidth > place.clientWidth) place.tabIndex = 0;
    }
    if (follows) new ResizeObserver(() => {
      if (place.clientWidth && fitted() !== view.width()) view.width(fitted()).runAsync();
    }).observe(place);
  };

  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      enliven(/** @type {SVGElement} */ (target), charts[target.id].vega).catch(
        (problem) => console.warn(`The drawing stays: ${problem.message}`));
    }
  }, { rootMargin: "300px" });
  for (const id of Object.keys(charts)) {
    const drawing = document.getElementById(id);
    if (drawing && drawing.dataset.static === undefined && !drawing.closest("[data-handle]")) seen.observe(drawing);
  }
})();
