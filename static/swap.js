/** Shows the present state of this page in place: no flash, no lost scroll position. */

import { enhanceCopyButtons } from "./copy.js";

/**
 * Fetch this page again and put its content in place of the one that is shown.
 * @returns {Promise<void>} rejected when the service could not be asked
 */
export async function showAgain() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("main");
  if (answer.status >= 500 || !fresh) throw new Error(`status ${answer.status}`);
  document.title = page.title;
  const main = /** @type {HTMLElement} */ (document.querySelector("main"));
  const hadFocus = main.contains(document.activeElement);
  main.replaceChildren(...fresh.childNodes);
  if (hadFocus) goOnFromTheTop(main);
  enhanceCopyButtons();
  document.dispatchEvent(new Event("shown"));
}

/**
 * Who was in what is gone now goes on from its heading, instead of from the top of the page.
 * @param {HTMLElement} main
 */
function goOnFromTheTop(main) {
  const heading = main.querySelector("h1");
  if (!heading) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}
