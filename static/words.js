/** What the page's scripts say, how they write numbers, and the token that changing requests carry. */

/**
 * A meta element's content.
 * @param {string} name
 * @returns {string}
 */
function meta(name) {
  const element = document.querySelector(`meta[name="${name}"]`);
  return element instanceof HTMLMetaElement ? element.content : "";
}

/** @type {Record<string, string>} */
const words = JSON.parse(meta("words") || "{}");

/** @type {Record<string, [string, string]>} */
const errors = JSON.parse(meta("errors") || "{}");

/**
 * An error of the service in the language of the page, where that is known by its code; else in its own words.
 * @param {{code?: string, message?: string, fix?: string}} error
 * @returns {{message: string, fix: string}}
 */
export function explain({ code = "", message = "", fix = "" }) {
  const known = Object.hasOwn(errors, code) ? errors[code] : null;
  return known ? { message: known[0], fix: known[1] } : { message, fix };
}

/** The language of the page. */
export const language = document.documentElement.lang || "en";

/**
 * A text of the page's language, with its {gaps} filled.
 * @param {string} name
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function say(name, values = {}) {
  return words[name].replace(/\{(\w+)\}/g, (gap, key) => String(values[key] ?? gap));
}

/**
 * Tell screen readers, and nobody else.
 * @param {string} text
 */
export function announce(text) {
  const place = document.querySelector("[data-announce]");
  if (place) place.textContent = text;
}

/** The session's token; empty where nobody signs in. */
export function token() {
  return meta("csrf-token");
}

/**
 * A number of bytes in the unit that reads best.
 * @param {number} bytes
 * @returns {string}
 */
export function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let step = 0;
  for (; bytes >= 1000 && step < units.length - 1; step += 1) bytes /= 1000;
  const digits = step && bytes < 100 ? 1 : 0;
  const number = bytes.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${number} ${units[step]}`;
}

/**
 * A length of time, no finer than an estimate is: 8 s, 12 min, 2 h 3 min. web/i18n/filters.py says it the same way.
 * @param {number} seconds
 * @returns {string}
 */
export function duration(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
