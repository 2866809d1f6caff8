// @ts-check
/**
 * The case browser: chips, scatter, list and viewer of one set of cases, which go together.
 *
 * It listens to `steadyread:handle` {size, native}, `steadyread:threshold` {ids, score, threshold as it is said, set: the
 * data set or finding where there are several} and `steadyread:case` {id, set}, and sends the last when a case is
 * chosen. `#case=ID` in the address opens a case.
 */
const caseBrowser = (() => {
  "use strict";
  const { element, sized, quantile } = caseData;
  /** The case that the address names. @returns {string | null} */
  const named = () => {
    if (!location.hash.startsWith("#case=")) return null;
    const id = location.hash.slice(6);
    try { return decodeURIComponent(id); } catch { return id; }
  };
  const SURE = 0.9, STEADIEST = 0.1;

  /** What other scripts sent before the pictures were open. @type {Record<string, CustomEvent>} */
  const earlier = {};
  for (const name of ["steadyread:handle", "steadyread:threshold"])
    document.addEventListener(name, (event) => { earlier[name] = /** @type {CustomEvent} */ (event); });

  /** Fills the place with the browser of these cases, until the signal. @param {HTMLElement} place
   * @param {CaseSource} source @param {AbortSignal} [signal]
   * @param {(id: string) => boolean} [elsewhere] whether another set of the page has a case */
  const open = (place, source, signal = new AbortController().signal, elsewhere = () => false) => {
    const { block } = source, { axis, cases, classes, positive } = block, dose = axis.kind === "dose";
    const all = cases.id.map((_, row) => row);
    /** How steady a case is; what never flips is the steadiest. @param {number} row */
    const steadiness = (row) => { const size = cases.flip[row]; return size === null ? Infinity : dose ? -size : size; };
    const wrong = (/** @type {number} */ row) => cases.truth[row] !== null && cases.truth[row] !== cases.read[row];
    const order = all.map(steadiness).sort((first, second) => first - second);
    const finite = order.filter(Number.isFinite).map(Math.abs);
    const middle = quantile(finite, 0.5), top = quantile(order, 1 - STEADIEST);
    const fragile = !dose && block.noise !== null ? block.noise : dose ? -middle : middle;
    let size = finite.length ? middle : NaN, chip = "all", find = "", chosen = -1, sorted = { column: "flip", down: dose };
    /** @type {Box | null} */
    let box = null;
    /** @type {{rows: Set<number>, words: string} | null} */
    let referred = null;
    /** @type {number[]} */
    let shown = all;
    let among = new Set(all);

    const at = (/** @type {number} */ value) => sized(value * axis.per, axis.unit);
    const missed = positive === null ? null : classes[positive];
    /** @type {Record<string, {name: () => string, says: () => string, holds: (row: number) => boolean}>} */
    const chips = {
      all: { name: () => "All", says: () => "every case", holds: () => true },
      flipped: { name: () => (Number.isFinite(size) ? `Flipped at ${at(size)}` : "Flipped"), says: () => (
        !Number.isFinite(size) ? "no size is known at which a read flips" : dose ? `at least half of the draws at ${at(size)} flip the read`
        : `a change of at most ${at(size)} flips the read`), holds: (row) => steadiness(row) <= (dose ? -size : size) },
      wrong: { name: () => "Wrong", says: () => "the unchanged image is read wrong", holds: wrong },
      ...(missed === null ? {} : { missed: { name: () => `Missed ${missed}`, says: () => `truly ${missed}, and not read so`,
        holds: (/** @type {number} */ row) => cases.truth[row] === positive && wrong(row) } }),
      fragile: { name: () => "Sure but fragile", says: () => `at least ${caseData.percent(SURE)} sure, and flipped ${
        !finite.length && (dose || block.noise === null) ? "by some size" : dose ? `at ${at(middle)} or more, the median` : block.noise !== null ? `by less than the noise in the images, ${at(block.noise)}`
        : `by no more than the median, ${at(middle)}`}`,
        holds: (row) => (cases.sure[row] ?? 0) >= SURE && steadiness(row) <= fragile },
      steadiest: { name: () => "Steadiest",
        says: () => (top === Infinity ? "no flip was found" : "the tenth of the cases that takes most to flip"), holds: (row) => steadiness(row) >= top },
      referred: { name: () => "Referred", says: () => referred?.words ?? "", holds: (row) => referred?.rows.has(row) ?? false },
    };
    const buttons = Object.fromEntries(Object.keys(chips).map((name) => [name, element("button", { type: "button",
      onclick: () => { chip = name; box = null; update(true); } })]));
    const clear = element("button", { type: "button", onclick: () => { box = null; update(); } }, "Box ✕");
    const search = element("input", { type: "search", placeholder: "Case or patient", "aria-label": "Find a case or a patient",
                                      oninput: () => { find = search.value.trim().toLowerCase(); update(); } });
    const says = element("p", { class: "case-says", role: "status" });
    const number = (/** @type {number} */ row) => (shown.indexOf(row) < 0 ? "" : `${shown.indexOf(row) + 1} of ${shown.length}`);

    const choose = (/** @type {number} */ row, quiet = false) => {
      if (row < 0) return;
      if (row !== chosen) {
        chosen = row;
        draw();
      }
      if (quiet) return;
      history.replaceState(null, "", `#case=${encodeURIComponent(cases.id[row])}`);
      document.dispatchEvent(new CustomEvent("steadyread:case", { detail: { id: cases.id[row] } }));
    };
    const move = (/** @type {number} */ step) => {
      const next = shown.indexOf(chosen) + step;
      if (shown.length) choose(shown[(next + shown.length) % shown.length]);
    };
    const viewer = caseViewer.viewer(source, move, signal);
    const scatter = caseScatter(block, choose, (next) => { box = next; update(); }, signal);
    const list = caseList(source, choose, (column) => {
      sorted = { column, down: sorted.column === column ? !sorted.down : column === "sure" || (column === "flip" && dose) };
      update();
    }, caseViewer.thumbs(source));

    /** @param {number} row @param {number} other */
    const compared = (row, other) => {
      const column = /** @type {(string | number | null)[]} */ (cases[sorted.column]);
      const [value, beside] = [column[row], column[other]];
      if (value === beside) return row - other;
      if (value === null || beside === null) return value === null ? 1 : -1;
      return (value < beside ? -1 : 1) * (sorted.down ? -1 : 1);
    };
    const draw = () => {
      scatter.show({ size, row: chosen, box, shown: among });
      list.show(shown, chosen, sorted);
      viewer.show(chosen, number(chosen));
    };
    const count = () => {
      for (const [name, button] of Object.entries(buttons)) {
        const { name: words, holds } = chips[name];
        button.replaceChildren(`${words()} `, element("span", {}, String(all.filter(holds).length)));
        button.setAttribute("aria-pressed", String(name === chip));
      }
      buttons.referred.hidden = !referred;
      clear.hidden = !box;
    };
    const update = (moves = false) => {   // `moves`: to a case of those listed, where the chosen one is none
      const { holds, says: meaning } = chips[chip];
      shown = all.filter((row) => {
        const [x, y] = scatter.points[row];
        return holds(row) && (!box || (x >= box[0] && x <= box[1] && y >= box[2] && y <= box[3]))
          && (!find || cases.id[row].toLowerCase().includes(find) || (cases.patient[row] ?? "").toLowerCase().includes(find));
      }).sort(compared);
      among = new Set(shown);
      const within = `${box ? ", in the box" : ""}${find ? `, found by “${find}”` : ""}`;
      says.textContent = `${shown.length} of ${all.length}: ${meaning()}${within}.`;
      count();
      if ((chosen < 0 || (moves && !among.has(chosen))) && shown.length) {
        const telling = shown.filter((row) => cases.flip[row] !== null && (cases.pictured[row] >= 0 || !block.pixels));
        chosen = telling[telling.length >> 1] ?? shown[0];
      }
      draw();
    };

    /** @type {Record<string, (event: any) => void>} */
    const heard = {
      "steadyread:handle": ({ detail }) => {
        if (dose || !Number.isFinite(detail.size) || detail.size === size) return;     // the handle is one of changes
        size = detail.size;
        if (chip === "flipped") update();
        else { count(); draw(); }
      },
      "steadyread:threshold": ({ detail: { ids, score, threshold, set } }) => {
        if (block.set && set && block.set !== set) return;
        const names = new Set(ids);
        referred = { words: `referred to a reader${set && !block.set ? ` for ${set}` : ""}: ${score.toLowerCase()} ${threshold}`,
                     rows: new Set(all.filter((row) => names.has(cases.id[row]))) };
        if (chip === "referred") update();
        else count();
      },
    };
    for (const [name, hear] of Object.entries(heard)) document.addEventListener(name, hear, { signal });
    document.addEventListener("steadyread:case", (event) => {
      choose(cases.id.indexOf(/** @type {CustomEvent} */ (event).detail.id), true);
    }, { signal });
    /** Opens the case that the address names. */
    const linked = () => {
      const id = named();
      if (id === null) return;
      const row = cases.id.indexOf(id);
      if (row < 0) {
        if (elsewhere(id)) return;
        says.textContent = `There is no case “${id}” in this file.`;
        return;
      }
      if (!shown.includes(row)) { [chip, box, find, search.value] = ["all", null, "", ""]; update(); }
      choose(row, true);
      viewer.whole.scrollIntoView({ block: "nearest" });
      viewer.title.focus({ preventScroll: true });
    };
    addEventListener("hashchange", linked, { signal });

    const marks = element("p", { class: "case-marks" }, [axis.title, axis.unit].filter(Boolean).join(", "),
      element("span", { class: "steady" }, "● right"), " ", element("span", { class: "flipped" }, "✕ wrong"));
    const whole = element("div", { class: "case-browser", tabindex: -1 },
      element("div", { class: "case-chips", role: "group", "aria-label": "Which cases" },
        ...Object.values(buttons), clear, search), says,
      element("div", { class: "case-work" },
        element("div", { class: "case-card" },
          element("h3", {}, dose ? "The dose at which noise flips the read" : "The smallest change that flips the read"), marks,
          scatter.canvas, list.frame),
        viewer.whole));
    document.addEventListener("keydown", (event) => {
      const target = /** @type {HTMLElement} */ (event.target), within = whole.contains(target);
      const { top, bottom } = viewer.whole.getBoundingClientRect();
      const free = target === document.body && bottom > 0 && top < innerHeight;
      if (!within && !free || /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName)) return;
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
      if (event.key === "ArrowRight") move(1);
      else if (event.key === "ArrowLeft") move(-1);
      else if (within && event.key.toLowerCase() === "b") viewer.blink.click();    // a letter where it is meant
      else return;
      event.preventDefault();
    }, { signal });
    place.replaceChildren(whole);
    update();
    for (const [name, event] of Object.entries(earlier)) heard[name](event);
    linked();
  };

  /** The block of the page: one set of cases, or several of what it says to choose from. @param {HTMLElement} place
   * @param {CaseBlock | {of: string, sets: CaseBlock[]}} data */
  const start = (place, data) => {
    const [of, blocks] = "sets" in data ? [data.of, data.sets] : ["", [data]], room = element("div");
    let leave = new AbortController();
    const enter = async (/** @type {number} */ at) => {
      leave.abort();
      const { signal } = leave = new AbortController();
      sets.value = String(at);
      const source = await caseData.opened(blocks[at]);
      if (signal.aborted) return;
      place.hidden = false;
      document.documentElement.classList.add("alive");
      open(room, source, signal, (id) => blocks.some(({ cases }) => cases.id.includes(id)));
    };
    const sets = element("select", { onchange: () => enter(Number(sets.value)) },
      ...blocks.map(({ set }, at) => element("option", { value: at }, set ?? "")));
    /** The set that holds the case which the address names, the one shown first. */
    const home = () => {
      const id = named(), now = Number(sets.value || 0);
      const holds = (/** @type {CaseBlock} */ block) => id === null || block.cases.id.includes(id);
      return holds(blocks[now]) ? now : Math.max(0, blocks.findIndex(holds));
    };
    document.addEventListener("steadyread:case", (event) => {
      const at = blocks.findIndex(({ set }) => set && set === /** @type {CustomEvent} */ (event).detail.set);
      if (at >= 0 && at !== Number(sets.value)) enter(at);
    });
    addEventListener("hashchange", () => { if (home() !== Number(sets.value)) enter(home()); });
    place.replaceChildren(...(blocks.length > 1 ? [element("label", { class: "case-sets" }, `${of} `, sets)] : []), room);
    return enter(home());
  };

  const place = document.getElementById("case-browser"), data = document.getElementById("case-data");
  if (place && data && "DecompressionStream" in globalThis) start(place, JSON.parse(data.textContent ?? ""));
  return { open };
})();
