// @ts-check
// A button that copies what stands beside it; also where the page is a file, whose clipboard a browser may refuse.
(() => {
  "use strict";
  /** @param {Element} source */
  function selected(source) {
    const selection = getSelection();
    if (!selection) return false;
    selection.selectAllChildren(source);
    return document.execCommand("copy");
  }

  for (const button of document.querySelectorAll("button.copy")) {
    const source = button.parentElement?.querySelector("code, pre");
    if (!source || !(button instanceof HTMLButtonElement)) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const copied = await Promise.resolve().then(() => navigator.clipboard.writeText(source.textContent || ""))
        .then(() => true, () => selected(source));
      const words = button.textContent;
      button.textContent = copied ? "Copied" : "Press Ctrl+C";
      setTimeout(() => { button.textContent = words; }, 2000);
    });
  }
})();
