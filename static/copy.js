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
 * Copy without the clipboard API, which browsers keep from pages on plain http.
 * @param {string} text
 * @returns {boolean} whether it worked
 */
function copyByHand(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "unseen";
  area.readOnly = true;
  const had = document.activeElement;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (had instanceof HTMLElement) had.focus({ preventScroll: true });
  return done;
}

/**
 * Put a text on the clipboard.
 * @param {string} text
 * @returns {Promise<boolean>} whether it is there
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByHand(text);
  }
}

/**
 * Select an element's text, for browsers that let a script copy nothing.
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
    if (await copyText([...document.querySelectorAll(selector)].map(textOf).join("\n"))) {
      button.textContent = button.dataset.copied ?? "";
    } else {
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
