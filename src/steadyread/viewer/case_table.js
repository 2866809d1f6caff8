// @ts-check
/**
 * The table of cases: pages of rows from the server, as many as are seen; any column is sorted and filtered there.
 *
 * @typedef {{name: string, title: string, kind: "number" | "choice" | "text", unit: string, among: string[], network: number}} TableColumn
 * @typedef {{column: string, text?: string, among?: string[], least?: number, most?: number}} Filter
 * @typedef {{rows: (string | number | null)[][], places: number[], columns: TableColumn[], passing: number, read: number,
 *   whole: boolean, problem: string}} Answer
 * @typedef {{sort: string, down: boolean, first: number, count: number}} Wanted
 */
const caseTable = (() => {
  "use strict";
  const { element, number, percent } = caseData;
  const ROW = 34, PAGE = 100, SPARE = 6, PAUSE = 250, SIGNS = { agree: "✓", disagree: "✕", refer: "→" };
  const BESIDE = / \d+$/, HIDDEN = ["verdict"], USUAL = ["case", "truth", "read", "sure", "flip", "mark"];
  const FEW = ["case", "read", "sure", "flip"], narrow = matchMedia("(max-width: 560px)");      // what a phone has room for

  /** What is typed above a column of numbers: 5, > 5, < 0.1, 2 to 8. @param {string} text @param {number} per */
  const range = (text, per) => {
    const found = /^\s*([<>]?)=?\s*(-?[\d.]+)\s*%?(?:\s*(?:to|–|-|\.\.)\s*(-?[\d.]+)\s*%?)?\s*$/.exec(text.replace("−", "-"));
    if (!found) return null;
    const [, sign, one, other] = found, least = Number(one) / per, most = Number(other ?? one) / per;
    if (!Number.isFinite(least) || !Number.isFinite(most)) return null;
    return sign === ">" ? { least } : sign === "<" ? { most: least } : { least, most };
  };

  /**
   * @param {(wanted: Wanted) => Promise<Answer>} ask @param {(place: number, row: Map<string, any>, order: number) => void} choose
   * @param {() => void} filtered @param {(order: number) => void} stands where the chosen case stands now, -1 where that is not known
   */
  const table = (ask, choose, filtered, stands) => {
    /** @type {Map<number, Answer | null>} */
    const pages = new Map();
    /** @type {Map<string, Filter>} */
    const filters = new Map();
    /** @type {TableColumn[]} */
    let columns = [];
    let passing = 0, generation = 0, current = -1, order = -1, sort = "flip", down = false, heads = "", pause = 0;

    const head = element("tr"), asked = element("tr", { class: "filters" }), body = element("tbody");
    const grid = element("table", {}, element("caption", { class: "unseen" }, "Cases"), element("thead", {}, head, asked), body);
    const frame = element("div", { class: "table-frame", tabindex: 0, role: "group", "aria-label": "Table of cases. Arrow keys choose a case." }, grid);

    /** Columns that a reader wants to see, or not to see, against what is usual.
     * @type {Map<string, boolean>} */
    const wished = new Map();
    const offered = () => columns.filter((column) => !HIDDEN.includes(column.name));
    const usual = narrow.matches ? FEW : USUAL;
    const shown = () => offered().filter(({ name }) => wished.get(name) ?? usual.includes(name.replace(/^(read|flip) \d+$/, "$1")))
      .sort((one, other) => Number(BESIDE.test(one.name)) - Number(BESIDE.test(other.name)));
    /** A column's head; beside the first network's those of others have their number. @param {TableColumn} column */
    const headOf = ({ name, title, unit }) => `${title}${BESIDE.test(name) ? ` · ${beside(name)}` : ""}${unit ? ` (${unit})` : ""}`;
    /** The order of the network that a column is of, as the list of networks numbers them. @param {string} name */
    const beside = (name) => [...new Set(offered().filter((column) => /^read( \d+)?$/.test(column.name)).map((column) => column.name.slice(4)))]
      .indexOf(name.slice(name.indexOf(" "))) + 1;
    const choices = element("div", { class: "case-chips" });
    const chooser = element("details", { class: "columns" }, element("summary", {}, "Columns"), choices);
    const drawChoices = () => {
      const now = shown();
      choices.replaceChildren(...offered().slice(1).map((column) => element("button", { type: "button", "aria-pressed": String(now.includes(column)), onclick: () => {
        wished.set(column.name, !now.includes(column));
        const filtering = filters.delete(column.name);      // nothing filters that is not seen
        heads = "";
        frameHeads();
        fill();
        if (filtering) filtered();
      } }, headOf(column))));
    };
    /** @param {TableColumn} column */
    const filterOf = (column) => {
      const { name, kind, title } = column, per = name.startsWith("sure") ? 100 : 1;
      const set = (/** @type {Filter | null} */ filter) => {
        if (filter) filters.set(name, filter);
        else filters.delete(name);
        clearTimeout(pause);
        pause = setTimeout(filtered, PAUSE);
      };
      if (kind === "choice") {
        const select = element("select", { "aria-label": `Filter ${title}`, onchange: () => set(select.value ? { column: name, among: [select.value] } : null) },
          element("option", { value: "" }, "any"), ...column.among.map((each) => element("option", { value: each }, each)));
        return select;
      }
      const input = element("input", { type: "text", "aria-label": `Filter ${title}`, placeholder: kind === "number" ? "> 5" : "contains", title: kind === "number" ? "5, > 5, < 0.1, 2 to 8" : "", oninput: () => {
        const text = input.value.trim(), found = kind === "number" ? range(text, per) : { text };
        input.toggleAttribute("aria-invalid", Boolean(text) && !found);
        if (!text || found) set(text ? { column: name, ...found } : null);
      } });
      return input;
    };
    /** Heads and filters, made anew where the columns are others. */
    const frameHeads = () => {
      const key = JSON.stringify(columns);
      if (key !== heads) {
        heads = key;
        head.replaceChildren(...shown().map((column) => element("th", { scope: "col", class: column.kind, "data-column": column.name },
          element("button", { type: "button", onclick: () => {
            down = sort === column.name ? !down : column.name.startsWith("sure");
            sort = column.name;
            restart();
          } }, headOf(column)))));
        drawChoices();
        asked.replaceChildren(...shown().map((column) => element("td", { class: column.kind }, filterOf(column))));
      }
      for (const each of head.children)
        each.setAttribute("aria-sort", each.getAttribute("data-column") !== sort ? "none" : down ? "descending" : "ascending");
    };

    /** @param {TableColumn} column @param {any} value @param {Map<string, any>} row */
    const words = (column, value, row) => {
      if (value === null) return column.kind === "number" ? "–" : "";
      if (column.name.startsWith("sure")) return percent(Number(value), 1);
      if (column.kind === "number") return typeof value === "number" ? number(value) : String(value);
      if (column.name === "read") return row.get("verdict") === "wrong" ? `✕ ${value}` : String(value);
      if (column.name === "mark") return `${SIGNS[/** @type {keyof SIGNS} */ (value)] ?? ""} ${value}`;
      return String(value);
    };
    /** @param {number} at @returns {{place: number, row: Map<string, any>} | null} */
    const rowAt = (at) => {
      const page = pages.get(Math.floor(at / PAGE)), values = page?.rows[at % PAGE];
      return page && values ? { place: page.places[at % PAGE], row: new Map(page.columns.map((column, each) => [column.name, values[each]])) } : null;
    };

    const fetch_ = async (/** @type {number} */ page) => {
      const mine = generation;
      if (pages.has(page)) return;
      pages.set(page, null);
      try {
        const answer = await ask({ sort, down, first: page * PAGE, count: PAGE });
        if (mine !== generation) return;
        ({ passing, columns } = answer);
        pages.set(page, answer);
        const at = answer.places.indexOf(current);
        if (at >= 0) order = page * PAGE + at;
        if (current >= 0) stands(rowAt(order)?.place === current ? order : -1);
        frameHeads();
        fill();
      } catch {
        if (mine === generation) pages.delete(page);
      }
    };
    const fill = () => {
      const first = Math.max(0, Math.floor(frame.scrollTop / ROW) - SPARE), last = Math.min(passing, first + Math.ceil(frame.clientHeight / ROW) + 2 * SPARE);
      const spacer = (/** @type {number} */ count) => {
        const room = element("tr", { "aria-hidden": "true" }, element("td", { colspan: shown().length || 1 }));
        room.style.height = `${Math.max(0, count) * ROW}px`;
        return room;
      };
      const lines = [];
      for (let at = first; at < last; at++) {
        const found = rowAt(at);
        if (!found) {
          void fetch_(Math.floor(at / PAGE));
          lines.push(element("tr", { class: "waiting" }, element("td", { colspan: shown().length || 1 }, "…")));
          continue;
        }
        const { place, row } = found;
        lines.push(element("tr", { "data-place": place, "aria-rowindex": at + 3, class: place === current ? "chosen" : undefined,
                                   "aria-current": place === current ? "true" : undefined, onclick: () => go(at) },
          ...shown().map((column) => element("td", { class: `${column.kind}${column.name === "read" && row.get("verdict") === "wrong" ? " wrong" : ""}`,
                                                     title: String(row.get(column.name) ?? "") }, words(column, row.get(column.name), row)))));
      }
      grid.setAttribute("aria-rowcount", String(passing + 2));
      body.replaceChildren(...(first % 2 ? [spacer(0)] : []), spacer(first), ...lines, spacer(passing - last));
    };
    /** Which sides have more to see. */
    const sides = () => {
      const rest = frame.scrollWidth - frame.clientWidth - frame.scrollLeft;
      frame.classList.toggle("more-left", frame.scrollLeft > 1);
      frame.classList.toggle("more-right", rest > 1);
    };
    frame.addEventListener("scroll", () => { fill(); sides(); }, { passive: true });
    const watched = new ResizeObserver(() => { fill(); sides(); });
    for (const each of [frame, grid]) watched.observe(each);

    /** Chooses the case at a place of the order. @param {number} at */
    const go = async (at) => {
      if (at < 0 || at >= passing) return;
      if (!rowAt(at)) await fetch_(Math.floor(at / PAGE));
      const found = rowAt(at);
      if (!found) return;
      [current, order] = [found.place, at];
      const top = at * ROW, room = frame.clientHeight - 3 * ROW;
      if (top < frame.scrollTop || top > frame.scrollTop + room) frame.scrollTop = Math.max(0, top - room / 2);
      fill();
      choose(found.place, found.row, at);
    };
    /** Asks again from the beginning. */
    const restart = async () => {
      generation++;
      pages.clear();
      frame.scrollTop = 0;
      await fetch_(0);
    };
    /** Asks again for what is seen, which has become more. */
    const refresh = async () => {
      generation++;
      pages.clear();
      await fetch_(Math.floor(frame.scrollTop / ROW / PAGE));
    };
    return { frame, chooser, filters, restart, refresh, go, fill,
             get passing() { return passing; }, get order() { return order; }, get columns() { return columns; },
             step: (/** @type {number} */ by) => go(Math.min(passing - 1, Math.max(0, order + by))),
             /** A case that was chosen elsewhere. @param {number} place */
             chosen: (place) => { [current, order] = [place, -1]; fill(); },
             /** What a row holds now. @param {number} place @param {Record<string, string>} values */
             update: (place, values) => {
               for (const page of pages.values()) {
                 const at = page?.places.indexOf(place) ?? -1;
                 if (page && at >= 0) page.columns.forEach((column, each) => { if (column.name in values) page.rows[at][each] = values[column.name] || null; });
               }
               fill();
             },
             /** Filters are emptied. */
             clear: () => { filters.clear(); heads = ""; frameHeads(); },
             /** The order that a reader begins with. @param {string} column @param {boolean} falling */
             sorted: (column, falling) => { [sort, down] = [column, falling]; } };
  };

  return table;
})();
