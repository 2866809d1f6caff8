// @ts-check
/** The list of the cases: told what to show, it tells what was chosen, and by which column to sort. */
const caseList = (() => {
  "use strict";
  const { element, number, percent } = caseData;
  const ROW = 44, SPARE = 4;

  /** The list: as many rows as are seen, whatever the number of cases.
   * @param {CaseSource} source @param {(row: number) => void} choose @param {(column: string) => void} sort
   * @param {(canvas: HTMLCanvasElement, row: number) => void} thumb */
  const list = (source, choose, sort, thumb) => {
    const { axis, cases, classes } = source.block;
    const columns = { id: "Case", truth: "Truth", read: "Read as", sure: "Sure",
                      flip: axis.kind === "dose" ? "Half flip at" : "Flips at" };
    const heads = Object.entries(columns).map(([name, title]) => element("th", { scope: "col", class: `case-${name}` },
      element("button", { type: "button", onclick: () => sort(name) }, title)));
    const body = element("tbody");
    const table = element("table", {}, element("caption", { class: "unseen" }, "Cases that are shown"),
      element("thead", {}, element("tr", {}, element("td", { class: "case-thumb" }), ...heads)), body);
    const frame = element("div", { class: source.block.pixels ? "case-list" : "case-list bare", tabindex: -1 }, table);
    /** @type {number[]} */
    let rows = [];
    let current = -1, first = -1;

    const common = cases.id.reduce((start, id) => { while (!id.startsWith(start)) start = start.slice(0, -1); return start; },
                                   cases.id[0] ?? "").replace(/[^-_. /]*$/, "");
    const short = (/** @type {string} */ id) => (common.length > 4 ? `…${id.slice(common.length)}` : id);
    const named = (/** @type {number | null} */ place) => (place === null ? "–" : classes[place]);
    const line = (/** @type {number} */ row, /** @type {number} */ place) => {
      const { truth, read, sure, flip } = cases, wrong = truth[row] !== null && truth[row] !== read[row];
      const canvas = element("canvas", { width: 1, height: 1, "aria-hidden": "true" }), sureness = sure[row], size = flip[row];
      if (cases.pictured[row] >= 0) thumb(canvas, row);
      return element("tr", { class: row === current ? "chosen" : undefined, "aria-rowindex": place + 2, "data-row": row,
                             onclick: () => choose(row) },
        element("td", { class: "case-thumb" }, canvas),
        element("th", { scope: "row", class: "case-id" },
          element("button", { type: "button", "aria-current": row === current ? "true" : undefined, title: cases.id[row],
                              "aria-label": cases.id[row], tabindex: row === current ? 0 : -1 }, short(cases.id[row]))),
        element("td", { class: "case-truth" }, named(truth[row])),
        element("td", { class: wrong ? "case-read wrong" : "case-read" }, wrong ? `✕ ${named(read[row])}` : named(read[row])),
        element("td", { class: "case-sure" }, sureness === null ? "–" : percent(sureness, 0, 1)),
        element("td", { class: "case-flip" }, size === null ? "none" : number(size * axis.per)));
    };

    const fill = (/** @type {boolean} */ anew) => {
      const next = Math.max(0, Math.min(rows.length, Math.floor(frame.scrollTop / ROW) - SPARE));
      if (!anew && next === first) return;
      first = next;
      const focused = body.contains(document.activeElement), seen = Math.ceil(frame.clientHeight / ROW);
      const last = Math.min(rows.length, first + seen + 2 * SPARE);
      const spacer = (/** @type {number} */ count) => {
        const room = element("tr", { "aria-hidden": "true" }, element("td"));
        room.style.height = `${count * ROW}px`;
        return room;
      };
      const lines = rows.slice(first, last).map((row, place) => line(row, first + place));
      body.replaceChildren(...(first % 2 ? [spacer(0)] : []), spacer(first), ...lines, spacer(rows.length - last));
      const buttons = [...body.querySelectorAll("button")];
      const reached = buttons.find((button) => button.tabIndex === 0) ?? buttons[0];
      if (reached) reached.tabIndex = 0;
      if (focused && reached) reached.focus({ preventScroll: true });
    };
    frame.addEventListener("scroll", () => fill(false), { passive: true });
    new ResizeObserver(() => fill(true)).observe(frame);
    frame.addEventListener("keydown", (event) => {
      const page = Math.max(1, Math.floor(frame.clientHeight / ROW) - 2), at = rows.indexOf(current);
      const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -rows.length, End: rows.length }[event.key];
      if (!step || !rows.length || !body.contains(document.activeElement)) return;
      event.preventDefault();
      event.stopPropagation();
      choose(rows[Math.max(0, Math.min(rows.length - 1, at + step))]);
    });

    /** @param {number[]} order @param {number} row @param {{column: string, down: boolean}} sorted */
    const show = (order, row, sorted) => {
      const moved = row !== current, fresh = order !== rows, focused = body.contains(document.activeElement);
      [rows, current] = [order, row];
      table.setAttribute("aria-rowcount", String(rows.length + 1));
      Object.keys(columns).forEach((name, place) =>
        heads[place].setAttribute("aria-sort", name !== sorted.column ? "none" : sorted.down ? "descending" : "ascending"));
      fill(true);
      const top = rows.indexOf(current) * ROW, seen = frame.clientHeight - 2 * ROW;
      if (top < 0 && fresh) frame.scrollTop = 0;
      if (top >= 0 && (moved || !frame.scrollTop) && (top < frame.scrollTop || top > frame.scrollTop + seen))
        frame.scrollTop = Math.max(0, top - seen / 2);
      fill(false);
      if (focused) /** @type {HTMLElement | null} */ (body.querySelector("[aria-current]"))?.focus({ preventScroll: true });
    };
    return { frame, show };
  };

  return list;
})();
