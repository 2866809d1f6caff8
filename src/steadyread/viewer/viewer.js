// @ts-check
/** The viewer: table, scatter and one dark viewer a network, of cases that the server has; and what readers say of them. */
(() => {
  "use strict";
  const { element, sized, percent } = caseData;
  const SURE = 0.9, PAUSE = 200, MOST_SIDES = 4;
  /** @type {Record<string, string>} */
  const KEYS = { 1: "agree", 2: "disagree", 3: "refer" };
  const found = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
  const main = found("viewer"), reader = /** @type {HTMLInputElement} */ (found("reader"));
  const problem = element("p", { class: "problem", role: "alert", hidden: "" });

  /** What the server says to a question. @param {string} name @param {Record<string, any>} question @returns {Promise<any>} */
  const post = async (name, question) => {
    let answer;
    try {
      answer = await fetch(name, { method: "POST", keepalive: name === "mark", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question) });
    } catch {
      return fail("The viewer has ended. Run `steadyread view` again and open the address that it prints.");
    }
    const said = await answer.json().catch(() => ({}));
    return answer.ok ? said : fail(said.problem ?? `The viewer answered ${answer.status}.`);
  };
  /** @param {string} words @returns {never} */
  const fail = (words) => {
    problem.textContent = words;
    problem.hidden = false;
    throw new Error(words);
  };

  /** One network's view of the case that is chosen. @param {number} network @param {any} facts @param {any} view */
  const side = (network, facts, view) => {
    const said = element("p", { class: "said", role: "status" }), answer = element("output"), place = element("div", { class: "case-browser" });
    const dose = facts.axis.kind === "dose", per = facts.axis.per;
    const size = element("input", { type: "number", min: 0, step: "any", "aria-label": `${facts.axis.title}, ${facts.axis.unit}` });
    const ask = element("form", { class: "ask", hidden: "" }, element("label", {}, dose ? "Ask the network at " : "Ask the network at a change of ", size, ` ${facts.axis.unit} `),
      element("button", {}, "Ask"), ...(dose ? [element("button", { type: "button", onclick: () => { draw += 1; void choose(current, view.of()); } }, "Another draw")] : []), answer);
    const whole = element("section", { class: "side" }, ...(view.titled ? [element("h2", {}, `${view.titled} · ${facts.title}`)] : []), place, said, ask);
    /** @type {(Picture | null)[]} */
    let pictures = [];
    /** @type {CaseSource | null} */
    let source = null;
    /** @type {any} */
    let shown = null, flat = null;
    let ended = new AbortController();
    let key = "", kept = "", current = -1, draw = 0, pause = 0, asked = 0, opened = false;

    ask.addEventListener("submit", (event) => { event.preventDefault(); void question(Number(size.value) / per); });
    const question = async (/** @type {number} */ at) => {
      const mine = ++asked;
      if (!Number.isFinite(at) || size.value === "" || at < 0) return;
      answer.textContent = opened ? "…" : "Loading the network, once…";
      try {
        const { probability, problem: why } = await post("ask", { network, place: current, of: view.of(), size: at, draw });
        opened ||= Boolean(probability);
        if (mine !== asked) return;
        const best = probability ? probability.indexOf(Math.max(...probability)) : 0;
        answer.textContent = probability ? `Asked now, at ${sized(at * per, facts.axis.unit)}: ${facts.classes[best]} ${percent(probability[best], 1)}` : why;
      } catch (error) { if (mine === asked) answer.textContent = String(/** @type {Error} */ (error).message); }
    };
    // The slider of the case viewer: where the network is at hand, it is asked what it says there.
    place.addEventListener("input", (event) => {
      const input = /** @type {HTMLInputElement} */ (event.target), block = source?.block;
      if (!block || input !== place.querySelector(".case-range input")) return;
      const at = dose ? [...(block.walk?.at ?? [])].sort((one, other) => other - one)[Number(input.value)]
        : ((block.cases.flip[block.cases.flip.length - 1] ?? 0) * Number(input.value)) / 100;
      size.value = String(Number((at * per).toPrecision(4)));
      clearTimeout(pause);
      if (!ask.hidden) pause = setTimeout(() => question(at), PAUSE);
    });

    /** @param {CaseBlock} block */
    const built = (block) => {
      const start = view.sample && network === view.of() ? view.sample : block, cases = /** @type {Columns} */ ({});
      for (const [name, values] of Object.entries(start.cases)) cases[name] = [.../** @type {any[]} */ (values)];
      if (start === block) for (const values of Object.values(cases)) values.length = 0;
      pictures = [];
      source = { block: { ...block, cases }, picture: async (row) => pictures[row] ?? null };
      const names = ["id", "patient", "truth", "read", "sure", "flip", "fold", "pictured"];
      for (const name of names) cases[name] ??= [];
      ended.abort();
      ended = new AbortController();
      shown = caseViewer.viewer(source, view.move, ended.signal);
      flat = null;
      shown.whole.addEventListener("steadyread:window", (/** @type {CustomEvent} */ { detail }) => { flat?.framed(detail.low, detail.high); });
      place.replaceChildren(shown.whole);
    };
    /** Shows a case, given by its place among the rows of the network `of`. @param {number} next @param {number} of */
    const choose = async (next, of, order = "") => {
      if (next !== current) draw = 0;
      current = next;
      whole.setAttribute("aria-busy", "true");
      const slow = setTimeout(() => { said.textContent = "Opening the network and the image…"; }, PAUSE);
      try {
        const { block, said: words, spacing, problem: why } = await post("case", { network, place: next, of, draw });
        clearTimeout(slow);
        if (next !== current) return;
        said.textContent = why ?? words;
        if (!block) { place.replaceChildren(); ask.hidden = true; return; }
        ask.hidden = words.startsWith("The network cannot");
        const own = JSON.stringify([block.shape, block.channels, block.walk?.at.length, Boolean(block.pixels)]);
        if (own !== key || !shown || !source) { key = own; built(block); }
        if (!source) return;
        const { cases } = source.block, picture = await (await caseData.opened(block)).picture(0);
        if (next !== current) return;
        const row = cases.id.length;
        for (const name of Object.keys(cases)) cases[name].push(block.cases[name]?.[0] ?? null);
        cases.pictured[row] = picture ? 0 : -1;
        source.block.windows.splice(0, source.block.windows.length, ...(kept ? source.block.windows : block.windows));
        kept = own;
        pictures[row] = picture;
        const flip = block.cases.flip[0];
        size.value = flip === null ? "" : String(Number((flip * per).toPrecision(4)));
        answer.textContent = "";
        void shown.show(row, order);
        await planes(block, picture, spacing);
      } finally { clearTimeout(slow); if (next === current) whole.removeAttribute("aria-busy"); }
    };
    /** Planes of a volume, and the attention where it is stored. @param {CaseBlock} block @param {Picture | null} picture
     * @param {number[] | null} spacing */
    const planes = async (block, picture, spacing) => {
      const mine = current, stored = picture ? await post("attention", { network, place: current, of: view.of() }) : {};
      if (mine !== current) return;
      const methods = /** @type {Record<string, Uint8Array>} */ ({});
      for (const [name, text] of Object.entries(stored.methods ?? {})) {
        const bytes = Uint8Array.from(atob(String(text)), (letter) => letter.charCodeAt(0));
        methods[name] = new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer());
      }
      const wanted = picture && ((block.shape ?? []).length > 2 || Object.keys(methods).length);
      if (flat) flat.whole.hidden = !wanted;
      if (!wanted || !picture) return;
      if (!flat) { flat = casePlanes(block, spacing ?? null); place.append(flat.whole); }
      const level = Math.max(...picture.size);
      flat.show({ image: picture.image, change: Float32Array.from(picture.steps, (step) => step * level), maps: methods });
    };
    return { whole, choose, stands: (/** @type {string} */ order) => shown?.stands(order), blink: () => shown?.blink.click() };
  };

  /** What a reader says of the chosen case. @param {(word: string, note: string) => Promise<any>} keep @param {any} longest */
  const marking = (keep, longest) => {
    let word = "", pause = 0, turn = 0, kept = 0;
    const says = element("span", { role: "status" });
    const buttons = Object.entries(KEYS).map(([key, name]) => element("button", { type: "button", "aria-pressed": "false", "data-word": name,
      onclick: () => { word = word === name ? "" : name; turn += 1; void save(); } }, `${{ agree: "✓", disagree: "✕", refer: "→" }[name]} ${name[0].toUpperCase()}${name.slice(1)} `, element("kbd", {}, key)));
    const note = element("textarea", { rows: 2, maxlength: longest.note, placeholder: "Note (N)", "aria-label": "Note on this case",
      oninput: () => { clearTimeout(pause); turn += 1; says.textContent = "…"; pause = setTimeout(save, 3 * PAUSE); }, onchange: () => { if (kept < turn) void save(); } });
    const draw = () => buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.word === word)));
    const save = async () => {
      clearTimeout(pause);
      draw();
      says.textContent = "…";
      const mine = turn;
      try {
        const { at, reader } = await keep(word, note.value);
        kept = Math.max(kept, mine);
        if (mine === turn) says.textContent = `Kept ${new Date(at).toLocaleTimeString()} for ${reader}.`;
      } catch (error) { if (mine === turn) says.textContent = `Not kept: ${/** @type {Error} */ (error).message}`; }
    };
    const whole = element("section", { class: "marking", "aria-label": "Your mark on this case" },
      element("div", { class: "marks", role: "group", "aria-label": "Mark" }, element("b", {}, "Is this read right?"), ...buttons, says), note);
    return { whole, note, press: (/** @type {string} */ name) => buttons.find((button) => button.dataset.word === name)?.click(),
             /** @param {string | null} next @param {string | null} text */
             show: (next, text) => { clearTimeout(pause); kept = turn += 1; word = next ?? ""; note.value = text ?? ""; says.textContent = ""; draw(); },
             /** Keeps what was typed a moment ago, before another case is shown. */
             settle: async () => { if (kept < turn) await save(); },
             forbid: (/** @type {string} */ why) => { for (const each of [...buttons, note]) each.toggleAttribute("disabled", true); says.textContent = why; } };
  };

  const begin = async () => {
    const state = await post("state", {});
    reader.value = state.reader;
    reader.maxLength = state.longest.reader;
    /** @type {number[]} */
    let places = state.start;
    let chip = "all", chosen = -1, read = 0, whole = false, find = "", settled = Promise.resolve();
    /** @type {{block: CaseBlock, places: number[], passing: number[], middle: number, top: number} | null} */
    let points = null;
    /** @type {any} */
    let scatter = null;
    /** @type {{facts: any, view: any}[]} */
    let sides = [];
    const first = () => state.networks[places[0]];
    const dose = () => first().axis.kind === "dose";
    const base = () => ({ networks: places, reader: reader.value.trim() || state.reader, filters: filters() });

    /** @returns {Record<string, {name: string, filters: () => any[]}>} */
    const chips = () => {
      const classes = first().classes, missed = classes.length === 2 ? classes[1] : null;
      const fragile = (/** @type {number} */ size) => (dose() ? { least: size } : { most: size });
      const steady = (/** @type {number} */ size) => (dose() ? { most: size } : { least: size });
      return { all: { name: "All", filters: () => [] },
        wrong: { name: "Wrong", filters: () => [{ column: "verdict", among: ["wrong"] }] },
        ...(missed ? { missed: { name: `Missed ${missed}`, filters: () => [{ column: "verdict", among: ["wrong"] }, { column: "truth", among: [missed] }] } } : {}),
        fragile: { name: "Sure but fragile", filters: () => [{ column: "sure", least: SURE }, { column: "flip", ...fragile(points?.middle ?? 0) }] },
        steadiest: { name: "Steadiest", filters: () => [{ column: "flip", ...steady(points?.top ?? 0) }] },
        marked: { name: "Marked", filters: () => [{ column: "mark", among: state.words }] } };
    };
    const filters = () => [...(chips()[chip]?.filters() ?? []), ...table.filters.values(), ...(find ? [{ column: "*", text: find }] : [])];

    const says = element("p", { class: "case-says", role: "status" }), chipRow = element("div", { class: "case-chips", role: "group", "aria-label": "Which cases" });
    const search = element("input", { type: "search", placeholder: "Find (/)", "aria-label": "Find in any column of text", oninput: () => { find = search.value.trim(); again(); } });
    const holder = element("div", { class: "scatter-holder" }), right = element("div", { class: "sides" });
    let pause = 0;
    const again = () => { clearTimeout(pause); pause = setTimeout(() => { void table.restart(); void spread(); }, PAUSE); };

    const table = caseTable(async (wanted) => {
      const answer = await post("rows", { ...base(), ...wanted });
      told(answer);
      return answer;
    }, (place, row, order) => { void choose(place, row, order); }, again, (order) => { for (const each of sides) each.view.stands(where(order)); });
    const marks = marking(async (word, note) => {
      const at = chosen, kept = await post("mark", { network: places[0], place: at, word, note, reader: reader.value.trim() || state.reader });
      table.update(at, { mark: kept.word, note: kept.note });
      return kept;
    }, state.longest);

    const told = (/** @type {Answer} */ answer) => {
      const more = answer.read > read;
      [read, whole] = [answer.read, answer.whole];
      if (answer.problem) { problem.textContent = answer.problem; problem.hidden = false; }
      const left = whole ? "" : `; reading the records, ${read.toLocaleString()}${first().expected ? ` of ${first().expected.toLocaleString()}` : ""} so far`;
      says.textContent = `${answer.passing.toLocaleString()} of ${read.toLocaleString()} cases${left}.`;
      if (!whole && !answer.problem) settled = settled.then(() => wait(more));
    };
    let waiting = false, byItself = false, drawn = new AbortController();
    /** Waits for more rows, while the first are looked at. @param {boolean} _more */
    const wait = async (_more) => {
      if (waiting || whole) return;
      waiting = true;
      const before = read;
      try {
        const answer = await post("rows", { ...base(), first: 0, count: 0, more_than: before });
        waiting = false;
        if (answer.read > before || answer.whole) {
          await table.refresh();
          if (byItself) await table.go(0);     // the first of all, once all are there
          void spread();
        } else told(answer);
      } finally { waiting = false; }
    };

    const spread = async () => {
      const next = await post("points", base());
      const more = !points || next.places.length !== points.places.length || next.places.some((/** @type {number} */ each, /** @type {number} */ at) => each !== points?.places[at]);
      points = next;
      if (more) {
        drawn.abort();
        drawn = new AbortController();
        scatter = caseScatter(next.block, (row) => pick(next.places[row]), boxed, drawn.signal);
        holder.replaceChildren(scatter.canvas);
      }
      drawPoints();
      drawChips();
    };
    /** @type {Box | null} */
    let box = null;
    const drawPoints = () => {
      if (!points || !scatter) return;
      const place = new Map(points.places.map((each, at) => [each, at]));
      scatter.show({ size: NaN, row: place.get(chosen) ?? -1, box, shown: new Set(points.passing.map((each) => place.get(each) ?? -1)) });
    };
    /** A box in the scatter, as filters of the columns that its axes are. @param {Box | null} next */
    const boxed = (next) => {
      box = next;
      const { cases } = /** @type {any} */ (points).block;
      const inside = next ? scatter.points.map((/** @type {[number, number]} */ [x, y], /** @type {number} */ row) => (x >= next[0] && x <= next[1] && y >= next[2] && y <= next[3] ? row : -1)).filter((/** @type {number} */ row) => row >= 0) : [];
      for (const name of ["sure", "flip"]) {
        const values = inside.map((/** @type {number} */ row) => cases[name][row]).filter((/** @type {number | null} */ value) => value !== null);
        if (values.length) table.filters.set(name, { column: name, least: Math.min(...values) * (1 - 1e-5), most: Math.max(...values) * (1 + 1e-5) });
        else table.filters.delete(name);
      }
      drawPoints();
      drawChips();
      again();
    };
    const drawChips = () => {
      chipRow.replaceChildren(...Object.entries(chips()).map(([name, each]) => element("button", { type: "button", "aria-pressed": String(name === chip), onclick: () => { chip = name; drawChips(); again(); } }, each.name)),
        ...(table.filters.size || box ? [element("button", { type: "button", onclick: () => { box = null; table.clear(); drawPoints(); drawChips(); again(); } }, "Clear filters ✕")] : []), search);
    };

    const where = (/** @type {number} */ order) => (order >= 0 ? `${(order + 1).toLocaleString()} of ${table.passing.toLocaleString()}` : "");
    /** @param {number} place @param {Map<string, any>} row @param {number} order */
    const choose = async (place, row, order) => {
      if (place !== chosen) await marks.settle();
      chosen = place;
      history.replaceState(null, "", `#case=${encodeURIComponent(row.get("case"))}`);
      if (first().writable) marks.show(row.get("mark"), row.get("note"));
      drawPoints();
      for (const each of sides) {
        if (chosen !== place) return;
        try { await each.view.choose(place, places[0], where(order)); } catch (error) { if (problem.hidden) console.error(error); }
      }
    };
    /** A case by its place, wherever it stands in the table. @param {number} place */
    const pick = async (place) => {
      const answer = await post("rows", { networks: places, reader: base().reader, place });
      if (!answer.rows.length) return;
      table.chosen(place);
      await choose(place, new Map(answer.columns.map((/** @type {TableColumn} */ column, /** @type {number} */ at) => [column.name, answer.rows[0][at]])), -1);
    };
    const move = (/** @type {number} */ by) => { void table.step(by); };

    const networks = found("networks");
    const drawNetworks = () => {
      if (state.networks.length < 2) return;
      const buttons = state.networks.map((/** @type {any} */ each, /** @type {number} */ at) => element("button", { type: "button", "aria-pressed": String(places.includes(at)), onclick: () => {
        const next = places.includes(at) ? places.filter((other) => other !== at) : [...places, at].slice(-MOST_SIDES);
        if (next.length) { places = next; void anew(); }
      } }, `${places.indexOf(at) >= 0 ? `${places.indexOf(at) + 1} ` : ""}${each.title}`));
      const open = Boolean(networks.querySelector("details[open]"));
      networks.replaceChildren(element("details", { class: "networks", ...(open ? { open: "" } : {}) }, element("summary", {}, `Networks: ${places.length} of ${state.networks.length}`),
        element("div", { class: "case-chips" }, ...buttons)));
    };
    /** Everything for the networks that are chosen. */
    const anew = async () => {
      [chosen, points, read, whole, box] = [-1, null, 0, false, null];
      table.clear();
      table.sorted("flip", dose());      // the most fragile first: the smallest change, or the highest dose
      drawNetworks();
      sides = places.map((at, order) => {
        const view = { titled: places.length > 1 ? order + 1 : 0, move, of: () => places[0], get sample() { return points?.block ?? null; } };
        const made = side(at, state.networks[at], view);
        return { facts: state.networks[at], view: { ...made } };
      });
      right.replaceChildren(...sides.map((each) => each.view.whole), marks.whole);
      if (!first().writable) marks.forbid("Marks cannot be kept: the folder of this run cannot be written.");
      drawChips();
      await table.restart();
      await spread();
      const linked = location.hash.startsWith("#case=") ? decodeURIComponent(location.hash.slice(6)) : "";
      const place = linked ? (await post("rows", { networks: places, case: linked })).places[0] : undefined;
      if (place !== undefined) await pick(place);
      else if (table.passing) {
        byItself = !whole;
        await table.go(0);
      }
    };
    for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => { byItself = false; }, true);

    reader.addEventListener("change", () => { again(); if (chosen >= 0) void pick(chosen); });
    document.addEventListener("keydown", (event) => {
      const target = /** @type {HTMLElement} */ (event.target);
      if (/^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) || event.ctrlKey || event.metaKey || event.altKey) {
        if (event.key === "Escape") target.blur();
        return;
      }
      if (event.key === "ArrowDown" || event.key === "ArrowRight") move(1);
      else if (event.key === "ArrowUp" || event.key === "ArrowLeft") move(-1);
      else if (event.key === "PageDown" || event.key === "PageUp") move(event.key === "PageDown" ? 10 : -10);
      else if (event.key in KEYS) marks.press(KEYS[event.key]);
      else if (event.key.toLowerCase() === "n") marks.note.focus();
      else if (event.key.toLowerCase() === "b") for (const each of sides) each.view.blink();
      else if (event.key === "/") search.focus();
      else return;
      event.preventDefault();
    });
    addEventListener("pagehide", () => { void marks.settle(); });
    main.replaceChildren(problem, element("div", { class: "case-browser viewer-work" },
      element("div", { class: "case-card table-card" }, chipRow, element("div", { class: "says-line" }, says, table.chooser), holder, table.frame), right));
    await anew();
    document.documentElement.classList.add("ready");
  };
  main.replaceChildren(problem);
  begin().catch((error) => { if (problem.hidden) { problem.textContent = String(error); problem.hidden = false; } });
})();
