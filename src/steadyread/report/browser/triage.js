// @ts-check
// Which reads to refer: a threshold along a handle, by mouse, keys or range input, and the list that it fills; of
// several data sets or findings, those of the one chosen.
(() => {
  "use strict";
  /** @typedef {{score: string, title: string, chosen: number, order: number[], threshold: (number|string|null)[],
   *   says: string[], referred: number[], caught: number[], error: (number|null)[][]}} Score */
  /** @typedef {{name: string, count: number, wrong: number, file: string, scores: Score[],
   *   reads: Record<string, string[]>}} Triage */
  const block = document.getElementById("triage-data");
  const place = document.querySelector(".threshold");
  if (!block || !place) return;
  /** @type {{of: string, each: Triage[]}} */
  const {of, each: all} = JSON.parse(block.textContent || "");
  const [W, H, LEFT, RIGHT, TOP, BOTTOM] = [560, 300, 46, 14, 14, 44];
  const SHOWN = 200;

  /** @param {string} name @param {Record<string, string|number>} attributes @param {...(Node|string)} within */
  const html = (name, attributes, ...within) => fill(document.createElement(name), attributes, within);
  /** @param {string} name @param {Record<string, string|number>} attributes @param {...(Node|string)} within */
  const svg = (name, attributes, ...within) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, within);
  /** @template {Element} E @param {E} element @param {Record<string, string|number>} attributes
   *  @param {(Node|string)[]} within @returns {E} */
  function fill(element, attributes, within) {
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
    element.append(...within);
    return element;
  }
  /** @param {number} share @param {number} [digits] */
  const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}\u00a0%`;

  /** The handle of one of them, with all that it fills. @param {Triage} data */
  function handle(data) {
    const COLUMNS = [["case", "Case"], ["read", "Read as"], ["truth", "Label"], ["sure", "Probability"],
      ["flip", "Smallest flip"], ...("fold" in data.reads ? [["fold", "Fold"]] : [])];
    let by = data.scores[0];
    let at = by.chosen;

    const top = Math.max(0.02, 1.08 * Math.max(...data.scores.flatMap((score) => score.error.map(([value]) => value || 0))));
    /** @param {number} referred */
    const across = (referred) => LEFT + (W - LEFT - RIGHT) * referred / data.count;
    /** @param {number} error */
    const up = (error) => H - BOTTOM - (H - TOP - BOTTOM) * error / top;
    /** @param {Score} score */
    const path = (score) => score.referred.map((count, i) => [count, score.error[i][0]])
      .filter(([, error]) => error !== null)
      .map(([count, error], i) => `${i ? "L" : "M"}${across(Number(count)).toFixed(1)} ${up(Number(error)).toFixed(1)}`).join("");

    const lines = svg("g", {});
    const rule = svg("line", {y1: TOP, y2: H - BOTTOM, class: "rule"});
    const knob = svg("circle", {r: 7, class: "knob"});
    const chart = svg("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", class: "referral",
      "aria-label": "Error among the kept reads by the share of reads referred"}, axes(), lines, rule, knob);
    const range = /** @type {HTMLInputElement} */ (html("input", {type: "range", min: 0, step: 1,
      "aria-label": "How many reads to refer"}));
    const choice = /** @type {HTMLSelectElement} */ (html("select", {"aria-label": "Refer by"},
      ...data.scores.map((score, i) => html("option", {value: i}, score.title))));
    const said = html("p", {class: "referred", role: "status"});
    const body = html("tbody", {});
    const rest = html("p", {class: "note"});
    const link = /** @type {HTMLAnchorElement} */ (html("a", {download: data.file, class: "button", href: "#"}, data.file));
    const table = html("div", {class: "scroll list", tabindex: 0}, html("table", {class: "snug"},
      html("thead", {}, html("tr", {}, ...COLUMNS.map(([, title]) => html("th", {scope: "col"}, title)))), body));

    function axes() {
      const marks = [0, 0.25, 0.5, 0.75, 1].map((share) => svg("text",
        {x: across(share * data.count), y: H - BOTTOM + 17, "text-anchor": "middle"}, String(100 * share)));
      const step = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2].find((each) => top / each <= 6) || 0.25;
      for (let error = 0; error <= top; error += step) {
        marks.push(svg("line", {x1: LEFT, x2: W - RIGHT, y1: up(error), y2: up(error), class: "grid"}),
          svg("text", {x: LEFT - 7, y: up(error) + 4, "text-anchor": "end"}, String(+(100 * error).toFixed(1))));
      }
      const middle = (H - BOTTOM + TOP) / 2;
      return svg("g", {}, ...marks,
        svg("text", {x: (LEFT + W - RIGHT) / 2, y: H - 8, "text-anchor": "middle"}, "reads referred, %"),
        svg("text", {x: 13, y: middle, "text-anchor": "middle", transform: `rotate(-90 13 ${middle})`}, "error among the kept, %"));
    }

    /** The reads that are referred now, as far as the page has them. */
    const referred = () => by.order.slice(0, by.referred[at]);

    function draw() {
      lines.replaceChildren(...data.scores.filter((score) => score !== by).map((score) => svg("path", {d: path(score), class: "other"})),
        svg("path", {d: path(by), class: "curve"}));
      range.max = String(by.referred.length - 1);
      range.value = String(at);
      const [value, low, high] = by.error[at];
      const x = across(by.referred[at]);
      rule.setAttribute("x1", String(x));
      rule.setAttribute("x2", String(x));
      knob.setAttribute("cx", String(x));
      knob.setAttribute("cy", String(up(value || 0)));
      const within = low === null || high === null ? "" : ` (95\u00a0%: ${percent(low)} to ${percent(high)})`;
      const caution = at === by.chosen ? "" : " A threshold picked here must be judged on other cases; each interval stands alone.";
      const share = percent(by.referred[at] / data.count);
      const words = by.referred[at] ? `Refer ${by.referred[at]} of ${data.count} reads (${share}): ${by.title.toLowerCase()} ${by.says[at]}. ` +
        `${by.caught[at]} of the ${data.wrong} wrong reads are among them; ` : "Refer none; ";
      said.textContent = `${words}of ${by.referred[at] ? "the others" : "all reads"} ${percent(value || 0)} are wrong${within}.${caution}`;
      range.setAttribute("aria-valuetext", `${share} of the reads`);
      fillList();
      document.dispatchEvent(new CustomEvent("steadyread:threshold", {detail: {
        score: by.title, set: data.name, threshold: by.says[at], ids: referred().map((read) => data.reads.case[read])}}));
    }

    function fillList() {
      const shown = referred().slice(0, SHOWN);
      body.replaceChildren(...shown.map((read) => {
        const wrong = data.reads.read[read] !== data.reads.truth[read];
        return html("tr", {class: wrong ? "first wrong" : "first"}, ...COLUMNS.map(([name]) => {
          const text = data.reads[name][read];
          if (name !== "case") return html("td", {}, name === "read" && wrong ? `${text} ✕` : text);
          const to = html("a", {href: `#case=${encodeURIComponent(text)}`}, text);
          to.addEventListener("click", () => document.dispatchEvent(new CustomEvent("steadyread:case", {detail: {id: text, set: data.name}})));
          return html("th", {scope: "row"}, to);
        }));
      }));
      const more = by.referred[at] - shown.length;
      rest.textContent = more > 0 ? `And ${more} more. ` : "";
      if (by.referred[at] > by.order.length) rest.textContent += `The file has the first ${by.order.length}; the folder of the run has all.`;
    }

    /** A cell of a CSV, in which a spreadsheet computes nothing. @param {string} text */
    const cell = (text) => `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replace(/"/g, '""')}"`;

    link.addEventListener("click", () => {
      const columns = [["case", "case"], ["patient", "patient"], ...COLUMNS.slice(1)];
      const rows = [columns.map(([, title]) => title), ...referred().map((read) => columns.map(([name]) => data.reads[name][read]))];
      const text = rows.map((row) => row.map(cell).join(",")).join("\n");
      link.href = URL.createObjectURL(new Blob([`${text}\n`], {type: "text/csv"}));
    });
    range.addEventListener("input", () => { at = Number(range.value); draw(); });
    choice.addEventListener("change", () => { by = data.scores[Number(choice.value)]; at = by.chosen; draw(); });
    /** @param {PointerEvent} event */
    const drag = (event) => {
      const frame = chart.getBoundingClientRect();
      const count = ((event.clientX - frame.left) * W / frame.width - LEFT) / (W - LEFT - RIGHT) * data.count;
      at = by.referred.reduce((best, each, i) => Math.abs(each - count) < Math.abs(by.referred[best] - count) ? i : best, 0);
      draw();
    };
    chart.addEventListener("pointerdown", (event) => { chart.setPointerCapture(event.pointerId); drag(event); });
    chart.addEventListener("pointermove", (event) => { if (chart.hasPointerCapture(event.pointerId)) drag(event); });

    const tools = html("p", {class: "tools-line"}, ...(data.scores.length > 1 ? [html("label", {}, "Refer by ", choice)] : []),
      html("label", {class: "slide"}, "fewer", range, "more"));
    draw();
    return [tools, said, html("div", {class: "figures"}, html("figure", {}, chart),
      html("div", {}, table, rest, html("p", {class: "tools-line"}, "Download the list: ", link)))];
  }

  const room = html("div", {});
  const chooser = /** @type {HTMLSelectElement} */ (html("select", {"aria-label": of},
    ...all.map(({name}, i) => html("option", {value: i}, name))));
  const enter = () => room.replaceChildren(...handle(all[Number(chooser.value)]));
  chooser.addEventListener("change", enter);
  place.replaceChildren(...(all.length > 1 ? [html("p", {class: "tools-line"}, html("label", {}, `${of} `, chooser))] : []), room);
  enter();
})();
