/** The list of jobs: keeps itself current while something on it is going on. */

import { showAgain } from "./swap.js";

const EVERY_MS = 4000;

setInterval(() => {
  const hasFocus = document.querySelector("main")?.contains(document.activeElement);
  // Who is about to press a button keeps the list that he sees.
  if (!document.hidden && !hasFocus && document.querySelector("[data-active]")) {
    showAgain().catch(() => {});  // the next time will tell
  }
}, EVERY_MS);
