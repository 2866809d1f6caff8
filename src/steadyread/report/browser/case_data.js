// @ts-check
/**
 * The cases of a page as the browser has them: the block `case-data` opened, and how its numbers are written.
 *
 * @typedef {{title: string, unit: string, kind: "flip" | "dose", per: number, log: boolean}} CaseAxis
 * @typedef {{name: string, low: number, high: number}} Preset
 * @typedef {(number | null)[]} Column
 * @typedef {{id: string[], patient: string[], truth: Column, read: Column, sure: Column, flip: Column, fold: Column,
 *   pictured: number[], [score: string]: any}} Columns
 * @typedef {{image: {scale: number, offset: number, data: string}, change: {scale?: number[][], data: string}}} Pixels
 * @typedef {{version: number, axis: CaseAxis, classes: string[], positive: number | null, threshold: number,
 *   bounds: [number, number], unit: string, noise: number | null, windows: Preset[], shape?: number[],
 *   channels?: number, set?: string, total: number, patients: number, images: number, cases: Columns, pixels?: Pixels,
 *   walk?: {at: number[], probability: string}}} CaseBlock
 *
 * A case's picture: `image` (channel, *space) in native units; `steps` the change of that shape, in steps of `size`
 * native units, one at the flip, or one at each dose; `walk` the probabilities (k, classes) along the way.
 * @typedef {{image: Float32Array, steps: Int8Array, size: number[], walk: Float32Array}} Picture
 *
 * Where a browser has its cases from: the block of the page, or a server. `picture` gives null where there is none.
 * @typedef {{block: CaseBlock, picture: (row: number) => Promise<Picture | null>}} CaseSource
 */
const caseData = (() => {
  "use strict";
  const STEPS = 127, MOST = 65535;

  /** Deflated bytes in base64, opened. @param {string | undefined} text @returns {Promise<ArrayBuffer>} */
  const inflated = async (text) => {
    if (!text) return new ArrayBuffer(0);
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
  };

  /** Images of differences in two planes of bytes, the sign in the lowest bit; they wrap at 16 bits, and begin anew in
   * each row. @param {Uint8Array} bytes @param {number} start @param {number} length @param {number} width
   * @param {number} scale @param {number} offset */
  const summed = (bytes, start, length, width, scale, offset) => {
    const values = new Float32Array(length), high = bytes.length / 2;
    for (let at = 0, value = 0; at < length; at++) {
      const code = bytes[start + at] | (bytes[high + start + at] << 8), step = (code >>> 1) ^ -(code & 1);
      value = at % width ? ((value + step) << 16) >> 16 : (step << 16) >> 16;
      values[at] = offset + scale * value;
    }
    return values;
  };

  /** The cases of the page's own block. @param {CaseBlock} block @returns {Promise<CaseSource>} */
  const opened = async (block) => {
    const { pixels, walk, shape = [], channels = 1, classes, cases } = block;
    const [image, change, chance] = await Promise.all(
      [pixels?.image.data, pixels?.change.data, walk?.probability].map(inflated));
    const planes = new Uint8Array(image), changes = new Int8Array(change);
    const chances = Float32Array.from(new Uint16Array(chance), (value) => value / MOST);
    const length = shape.reduce((product, side) => product * side, channels);
    const stops = (walk?.at.length ?? 0) * classes.length;
    return { block, picture: async (row) => {
      const place = cases.pictured[row], start = place * length;
      if (!pixels || place < 0) return null;
      const { scale, offset } = pixels.image;
      return { image: summed(planes, start, length, shape[shape.length - 1], scale, offset),
               steps: changes.subarray(start, start + length),
               size: pixels.change.scale?.[place] ?? [(cases.flip[row] ?? 0) / STEPS],
               walk: chances.subarray(place * stops, (place + 1) * stops) };
    } };
  };

  /** An element with its attributes and children; text is never markup. @template {keyof HTMLElementTagNameMap} K
   * @param {K} tag @param {Record<string, any>} [attributes] @param {(Node | string)[]} children */
  const element = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== undefined && value !== null) node.setAttribute(name, String(value));
    }
    node.append(...children);
    return node;
  };

  /** A true minus sign. @param {string} digits */
  const signed = (digits) => digits.replace("-", "−");
  /** A size to two digits, as everywhere on the page. @param {number} value */
  const number = (value) => {
    const places = value ? 1 - Math.floor(Math.log10(Math.abs(value))) : 0;
    return signed(value.toFixed(Math.max(0, Math.min(9, places))));
  };
  /** A value as it is, without zeros that say nothing. @param {number} value */
  const plain = (value) => signed(String(Number(value.toPrecision(5))));

  /** A number with its unit, which never part. @param {string} digits @param {string} unit */
  const united = (digits, unit) => (unit ? `${digits}\u202f${unit}` : digits);
  /** A size with its unit. @param {number} value @param {string} unit */
  const sized = (value, unit) => united(number(value), unit);

  /** A probability; what is not certain is never written as certain. @param {number} value @param {number} [places]
   * @param {number} [most] */
  const percent = (value, places = 0, most = 3) => {
    for (let more = places; more <= most; more++) {
      const digits = (100 * value).toFixed(more);
      if (value > 0.5 ? Number(digits) < 100 : Number(digits) > 0) return united(digits, "%");
    }
    return united(value > 0.5 ? `>${(100 - 10 ** -most).toFixed(most)}` : `<${(10 ** -most).toFixed(most)}`, "%");
  };

  /** The value that so many of the sorted have below them. @param {number[]} sorted
   * @param {number} share */
  const quantile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;

  /** The window that a viewer begins with: the whole range, or the next where that shows less than half of it.
   * @param {CaseBlock} block @returns {Preset} */
  const first = ({ windows: [full, next], bounds: [low, high] }) =>
    (next && full.high - full.low > 2 * (next.high - next.low) ? next : full ?? { name: "full", low, high });

  /** The next round value. @param {number} value */
  const rounded = (value) => {
    const decade = 10 ** Math.floor(Math.log10(value || 1));
    return ([1, 1.5, 2, 3, 4, 5, 6, 8].find((step) => step * decade >= value * 0.999) ?? 10) * decade;
  };

  return { opened, element, number, plain, united, sized, percent, quantile, first, rounded };
})();
