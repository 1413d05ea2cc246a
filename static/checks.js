/** What the service finds to doubt in a segment, or hard to read as a subtitle. templates/_findings.html says the same. */

import { language } from "./words.js";

/** @typedef {{code: string, value: number, limit?: number}} Finding */
/** @typedef {{segment: number, suspicions: Finding[], subtitle: Finding[]}} Check */

/**
 * Show what was found in these rows now.
 * @param {HTMLElement} section  which knows the sentences
 * @param {Map<number, HTMLElement>} rows  by their places
 * @param {Check[]} checks
 */
export function showChecks(section, rows, checks) {
  const words = JSON.parse(section.dataset.checks ?? "{}");
  const found = new Map(checks.map((check) => [check.segment, check]));
  for (const [place, row] of rows) {
    row.querySelector(".flags")?.remove();
    delete row.dataset.suspect;
    const check = found.get(place);
    if (!check) continue;
    if (check.suspicions.length) row.dataset.suspect = "";
    row.lastElementChild?.append(flags(words, check));
  }
}

/**
 * @param {Record<string, string>} words
 * @param {Check} check
 */
function flags(words, { suspicions, subtitle }) {
  const list = document.createElement("ul");
  list.className = "flags";
  list.lang = language;
  for (const [kind, findings] of /** @type {[string, Finding[]][]} */ ([["suspect", suspicions], ["", subtitle]])) {
    for (const finding of findings) {
      const item = document.createElement("li");
      item.className = kind;
      item.textContent = sentence(words[finding.code] ?? finding.code, finding);
      list.append(item);
    }
  }
  return list;
}

/**
 * @param {string} text
 * @param {Finding} finding
 */
function sentence(text, { value, limit = 0 }) {
  const decimal = value.toLocaleString(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const gaps = { count: Math.trunc(value), decimal, percent: Math.round(value * 100), limit: Math.trunc(limit) };
  return text.replace(/\{(\w+)\}/g, (gap, name) => String(gaps[/** @type {keyof gaps} */ (name)] ?? gap));
}
