// @ts-check
/** The bar's buttons: light or dark, and print. Without scripts they are not there. */
(() => {
  "use strict";
  const theme = document.getElementById("theme");
  const print = document.getElementById("print");
  if (theme) {
    theme.hidden = false;
    theme.addEventListener("click", () => {
      const root = document.documentElement;
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
    });
  }
  if (print) {
    print.hidden = false;
    print.addEventListener("click", () => window.print());
  }
  // A link into a fold opens it.
  const reveal = () => {
    const aim = location.hash.length > 1 ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
    for (let fold = aim && aim.closest("details"); fold; fold = fold.parentElement && fold.parentElement.closest("details")) {
      fold.open = true;
    }
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
