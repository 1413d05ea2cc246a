/** Times as people say them: how long ago in the language of the page, and the exact one, in their own zone, on hover. */

import { language } from "./words.js";

/** Seconds in each unit, from which on it is used. @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]];

/** Longer ago than this the date says more, in seconds. */
const OLDEST = 7 * 86_400;

const ago = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const exact = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });

/** @param {HTMLTimeElement} element */
function show(element) {
  const moment = new Date(element.dateTime);
  if (Number.isNaN(moment.getTime())) return;
  const seconds = (moment.getTime() - Date.now()) / 1000;
  const text = exact.format(moment);
  element.title = text;
  const [unit, length] = UNITS.find(([, least]) => Math.abs(seconds) >= least) ?? UNITS[3];
  const shown = Math.abs(seconds) > OLDEST ? text : ago.format(Math.round(seconds / length), unit);
  if (element.textContent !== shown) element.textContent = shown;
}

/** Every time on the page, also those that came later. */
export function showTimes() {
  for (const element of document.querySelectorAll("time[datetime]")) show(/** @type {HTMLTimeElement} */ (element));
}

document.addEventListener("shown", showTimes);
setInterval(() => { if (!document.hidden) showTimes(); }, 30_000);
showTimes();
