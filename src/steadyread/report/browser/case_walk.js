// @ts-check
/** What a network says along the way of a case, from nothing to twice its flip or through the doses, and its chart. */
const caseWalk = (() => {
  "use strict";
  const { united, sized } = caseData;
  const SVG = "http://www.w3.org/2000/svg", HEIGHT = 96, BELOW = 22, ROOM = 8;

  /** @param {string} tag @param {Record<string, string | number>} attributes @param {string} [words] */
  const drawn = (tag, attributes, words = "") => {
    const shape = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, String(value));
    shape.textContent = words;
    return shape;
  };

  /** The stops of a slider, and what is said at them. @param {CaseBlock} block */
  const walk = (block) => {
    const { axis, cases, classes, positive, threshold } = block, dose = axis.kind === "dose", at = block.walk?.at ?? [];
    const count = classes.length, pair = positive !== null && count === 2 ? positive : null;
    const order = at.map((_, stop) => stop);
    if (dose) order.sort((first, second) => at[second] - at[first]);    // from little noise to much
    const values = order.map((stop) => at[stop]), last = Math.max(1, values.length - 1);
    const chart = drawn("svg", { height: HEIGHT + BELOW, "aria-hidden": "true", class: "case-walk" });

    /** The place of a value among the stops, between two of them a fraction. @param {number} value */
    const place = (value) => {
      const past = values.findIndex((each) => (dose ? each <= value : each >= value));
      const next = past < 0 ? values.length - 1 : past, before = Math.max(0, next - 1), far = values[next] - values[before];
      return before + (far ? (value - values[before]) / far : 0) * (next - before);
    };
    /** The probabilities of a picture at a place. @param {Picture} picture @param {number} where @returns {number[]} */
    const chances = ({ walk: along }, where) => classes.map((_, name) => {
      const [before, next] = [Math.floor(where), Math.ceil(where)].map((stop) => along[order[stop] * count + name]);
      return before + (next - before) * (where % 1);
    });
    /** The class that probabilities speak for, of all but one. @param {number[]} given @param {number | null} [without] */
    const readOf = (given, without = null) => {
      if (pair !== null) return without !== null ? 1 - without : given[pair] >= threshold ? pair : 1 - pair;
      const left = given.map((chance, name) => (name === without ? -1 : chance));
      return left.indexOf(Math.max(...left));
    };

    /** The chart of a case, the slider at a place. @param {number} row @param {Picture | null} picture
     * @param {number} where */
    const draw = (row, picture, where) => {
      chart.replaceChildren();
      const flip = cases.flip[row] ?? null, wide = chart.clientWidth || 600;
      if (!picture || !values.length || (!dose && flip === null)) return;
      const x = (/** @type {number} */ part) => ROOM + part * (wide - 2 * ROOM);
      const y = (/** @type {number} */ part) => 4 + (1 - part) * (HEIGHT - 8);
      const line = (/** @type {string} */ d, name = "grid") => chart.append(drawn("path", { class: name, d }));
      const write = (/** @type {string} */ words, /** @type {number} */ left, /** @type {number} */ top, anchor = "start",
                     name = "") => chart.append(drawn("text", { x: left, y: top, "text-anchor": anchor, class: name }, words));
      const begins = chances(picture, 0), ends = chances(picture, values.length - 1), now = chances(picture, where);
      const read = cases.read[row] ?? 0, rival = readOf(ends);
      const shown = pair !== null ? [pair] : rival === read ? [read] : [read, rival];

      line(`M0 ${y(0)}H${wide}M0 ${y(1)}H${wide}`);
      if (pair !== null) {
        line(`M0 ${y(threshold)}H${wide}`, "grid dashed");
        write("threshold", wide - ROOM, y(threshold) + (ends[pair] >= threshold ? 15 : -5), "end");
      }
      const share = flip === null ? 0.5 : dose ? place(flip) / last : 0.5;
      if (flip !== null) {
        line(`M${x(share)} 0V${HEIGHT}`);
        write(`${dose ? "half flip at" : "flips at"} ${sized(flip * axis.per, axis.unit)}`, x(share), HEIGHT + 16,
              share > 0.85 ? "end" : share < 0.15 ? "start" : "middle");
      }
      const [low, high] = dose ? [values[0], values[values.length - 1]] : [0, 2 * Number(flip)];
      if (share > 0.3) write(low ? sized(low * axis.per, axis.unit) : "0", ROOM, HEIGHT + 16);
      if (share < 0.7 && high !== low) write(sized(high * axis.per, axis.unit), wide - ROOM, HEIGHT + 16, "end");
      for (const name of shown) {
        const path = values.map((_, stop) => `${x(stop / last)} ${y(chances(picture, stop)[name])}`);
        line(`M${path.join("L")}`, name === shown[0] ? "line" : "line rival");
        chart.append(drawn("circle", { class: "mark", cx: x(where / last), cy: y(now[name]), r: 6 }));
      }
      // Words stand where the line is not: it ends on the other side of the threshold than it begins.
      const falls = begins[shown[0]] > ends[shown[0]];
      const name = (/** @type {number} */ each, /** @type {boolean} */ upper) => write(`${united("100", "%")} ${classes[each]}`,
        upper === falls ? wide - ROOM : ROOM, upper ? 16 : HEIGHT - 10, upper === falls ? "end" : "start");
      name(shown[0], true);
      if (pair !== null) name(1 - pair, false);
      else if (shown.length > 1) write(classes[rival], wide - ROOM, HEIGHT - 10, "end", "rival");
    };
    return { chart, values, order, place, chances, readOf, draw };
  };

  return walk;
})();
