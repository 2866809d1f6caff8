// @ts-check
// The bar: light or dark, print, and folds that open for print and for a link that leads into them.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const now = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  const changed = () => document.dispatchEvent(new CustomEvent("steadyread:theme", { detail: { theme: now() } }));

  /** @param {string} id @param {() => void} act */
  const button = (id, act) => {
    const found = document.getElementById(id);
    if (!found) return;
    found.hidden = false;
    found.addEventListener("click", act);
  };
  button("theme", () => {
    root.dataset.theme = now() === "dark" ? "light" : "dark";
    changed();
  });
  button("print", () => print());
  dark.addEventListener("change", () => root.dataset.theme || changed());

  /** @type {HTMLDetailsElement[]} */
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details")].filter((fold) => !fold.open);
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => {
    for (const fold of opened) fold.open = false;
  });

  const reach = () => {
    const target = document.querySelector(":target");
    if (!target) return;
    for (let fold = target.closest("details"); fold; fold = fold.parentElement?.closest("details") ?? null)
      fold.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", reach);
  reach();
})();
