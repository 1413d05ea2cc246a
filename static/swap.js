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
  document.querySelector("main")?.replaceChildren(...fresh.childNodes);
  enhanceCopyButtons();
  document.dispatchEvent(new Event("shown"));
}
