// @ts-check
/** Figures as files: numbers as CSV, drawings as SVG and PNG in the colours of the page as it is. */
(() => {
  "use strict";
  const SCALE = 2;      // pixels of a PNG to a unit of the drawing
  const block = document.getElementById("charts");
  /** @type {Record<string, {csv: string}>} */
  const charts = JSON.parse((block && block.textContent) || "{}");

  /** @param {string} id */
  const csv = (id) => {
    const bytes = Uint8Array.from(atob(charts[id].csv), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).blob();
  };

  /** A figure's drawing as a file of its own. @param {string} id */
  const drawing = (id) => {
    const page = /** @type {SVGSVGElement} */ (/** @type {unknown} */ (document.getElementById(id)));
    const own = /** @type {SVGSVGElement} */ (page.cloneNode(true));
    const colours = getComputedStyle(document.documentElement);
    const [, , width, height] = (page.getAttribute("viewBox") || "0 0 480 300").split(/[ ,]+/).map(Number);
    own.removeAttribute("class");
    for (const [name, value] of Object.entries({ xmlns: "http://www.w3.org/2000/svg", width, height }))
      own.setAttribute(name, String(value));
    const text = new XMLSerializer().serializeToString(own)
      .replace(/var\(--([a-z]+)\)/g, (_, name) => colours.getPropertyValue(`--${name}`).trim())
      .replaceAll("currentColor", colours.getPropertyValue("--ink").trim())
      .replace(/(<svg\b[^>]*>)/, `$1<rect width="100%" height="100%" fill="${colours.getPropertyValue("--paper").trim()}"/>`);
    return { text, width, height };
  };

  /** @param {string} id */
  const svg = async (id) => new Blob([drawing(id).text], { type: "image/svg+xml" });

  /** @param {string} id @returns {Promise<Blob>} */
  const png = async (id) => {
    const { text, width, height } = drawing(id);
    const image = new Image(width * SCALE, height * SCALE);
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: Math.round(width * SCALE), height: Math.round(height * SCALE) });
    /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise((done, fail) => canvas.toBlob((blob) => blob ? done(blob) : fail(new Error("no picture"))));
  };

  const kinds = { csv, svg, png };
  for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("[data-save]"))) {
    const { figure = "", save = "" } = button.dataset;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await kinds[/** @type {"csv" | "svg" | "png"} */ (save)](figure));
      link.download = `${figure.replace(/-figure$/, "")}.${save}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    });
  }
})();
