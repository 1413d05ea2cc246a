/** Copy buttons: `data-copy` holds the selector of the elements whose text is copied, a line each; then they say so. */

/**
 * The text of an element, a form field's value included.
 * @param {Element} element
 * @returns {string}
 */
function textOf(element) {
  return element instanceof HTMLTextAreaElement ? element.value : (element.textContent ?? "").trim();
}

/**
 * Select an element's text, for browsers that offer no clipboard (plain http on a network).
 * @param {Element} element
 */
function select(element) {
  if (element instanceof HTMLTextAreaElement) {
    element.select();
  } else {
    getSelection()?.selectAllChildren(element);
  }
}

/**
 * Make one button copy, and say that it did.
 * @param {HTMLButtonElement} button
 */
function enhance(button) {
  const selector = button.dataset.copy ?? "";
  const target = document.querySelector(selector);
  if (!target) return;
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText([...document.querySelectorAll(selector)].map(textOf).join("\n"));
      button.textContent = button.dataset.copied ?? "";
    } catch {
      select(target.closest("[data-text]") ?? target);
      button.textContent = button.dataset.selected ?? "";
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

/** Make every copy button of the page work, also those that came later. */
export function enhanceCopyButtons() {
  for (const button of document.querySelectorAll("button[data-copy][hidden]")) {
    if (button instanceof HTMLButtonElement) enhance(button);
  }
}

enhanceCopyButtons();
