/** The rows of a transcript: one segment each, in several lists. The page itself is the model. */

/** @typedef {{at: number, to: number, begin: number, end: number}} Word  places in the text, seconds in the file */

/**
 * All rows in order.
 * @param {Element} text
 * @returns {HTMLElement[]}
 */
export function rowsOf(text) {
  return /** @type {HTMLElement[]} */ ([...text.querySelectorAll("li[data-start]")]);
}

/**
 * The paragraph with the words of a row.
 * @param {Element} row
 * @returns {HTMLElement}
 */
export function saidOf(row) {
  return /** @type {HTMLElement} */ (row.querySelector(".said"));
}

/** @param {HTMLElement} row */
export const startOf = (row) => Number(row.dataset.start);

/** @param {HTMLElement} row */
export const endOf = (row) => Number(row.dataset.end);

/**
 * The row that follows, also in the next list.
 * @param {Element} row
 * @returns {HTMLElement | null}
 */
export function rowAfter(row) {
  let found = row.nextElementSibling;
  for (let list = row.parentElement; !found && list?.nextElementSibling;) {
    list = /** @type {HTMLElement} */ (list.nextElementSibling);
    found = list.firstElementChild;
  }
  return /** @type {HTMLElement | null} */ (found);
}

/**
 * The row before, also in the list before.
 * @param {Element} row
 * @returns {HTMLElement | null}
 */
export function rowBefore(row) {
  let found = row.previousElementSibling;
  for (let list = row.parentElement; !found && list?.previousElementSibling;) {
    list = /** @type {HTMLElement} */ (list.previousElementSibling);
    found = list.lastElementChild;
  }
  return /** @type {HTMLElement | null} */ (found);
}

/**
 * The words of a row with their times, as they were heard; else spread evenly over its letters.
 * @param {HTMLElement} row
 * @returns {Word[]}
 */
export function wordsOf(row) {
  const text = saidOf(row).textContent ?? "";
  const start = startOf(row);
  const numbers = row.dataset.words?.split(" ").map(Number);
  if (!numbers) {
    const scale = (endOf(row) - start) / Math.max(1, text.length);
    return [...text.matchAll(/\S+/g)].map(({ index, 0: word }) => ({
      at: index, to: index + word.length, begin: start + index * scale, end: start + (index + word.length) * scale,
    }));
  }
  const words = [];
  for (let n = 0; n < numbers.length; n += 3) {
    const next = numbers[n + 3] ?? text.length;
    const length = text.slice(numbers[n], next).trimEnd().length;
    words.push({
      at: numbers[n], to: numbers[n] + length, begin: start + numbers[n + 1] / 100, end: start + numbers[n + 2] / 100,
    });
  }
  return words;
}

/**
 * A part of a row's text as a range that can be highlighted.
 * @param {HTMLElement} row
 * @param {number} from
 * @param {number} to
 * @returns {StaticRange | null}
 */
export function rangeOf(row, from, to) {
  const walker = document.createTreeWalker(saidOf(row), NodeFilter.SHOW_TEXT);
  /** @type {[Node, number] | null} */
  let begin = null;
  for (let passed = 0, node = walker.nextNode(); node; node = walker.nextNode()) {
    const length = node.nodeValue?.length ?? 0;
    if (!begin && from < passed + length) begin = [node, from - passed];
    if (begin && to <= passed + length) {
      return new StaticRange({
        startContainer: begin[0], startOffset: begin[1], endContainer: node, endOffset: to - passed,
      });
    }
    passed += length;
  }
  return null;
}

/**
 * The place in a row's text under a point of the window, -1 if there is none.
 * @param {HTMLElement} row
 * @param {number} x
 * @param {number} y
 * @returns {number}
 */
export function placeAt(row, x, y) {
  const position = document.caretPositionFromPoint?.(x, y);
  const range = position ? null : document.caretRangeFromPoint?.(x, y);
  const node = position?.offsetNode ?? range?.startContainer;
  const offset = position?.offset ?? range?.startOffset ?? 0;
  const walker = document.createTreeWalker(saidOf(row), NodeFilter.SHOW_TEXT);
  for (let passed = 0, one = walker.nextNode(); one; one = walker.nextNode()) {
    if (one === node) return passed + offset;
    passed += one.nodeValue?.length ?? 0;
  }
  return -1;
}

/**
 * Highlight these ranges under a name; browsers that can't show none.
 * @param {string} name
 * @param {(StaticRange | null)[]} ranges
 */
export function highlight(name, ranges) {
  if (!("highlights" in CSS)) return;
  CSS.highlights.set(name, new Highlight(...ranges.filter((range) => range !== null)));
}

/**
 * Give the browser time for everything else. (Timers would do, but a browser slows them in a page that it thinks hidden.)
 * @returns {Promise<void>}
 */
export function pause() {
  const channel = new MessageChannel();
  return new Promise((resolve) => {
    channel.port1.onmessage = () => { channel.port1.close(); resolve(); };
    channel.port2.postMessage(null);
  });
}

/**
 * A time in the file as the server writes it, with as many decimals: 1:02.3.
 * @param {number} seconds
 * @param {number} decimals
 * @returns {string}
 */
export function clock(seconds, decimals = 1) {
  const unit = 10 ** decimals;
  const whole = Math.max(0, Math.round(seconds * unit));
  const minutes = Math.floor(whole / (60 * unit));
  const rest = ((whole % (60 * unit)) / unit).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/**
 * The seconds in a text like 1:02.3, 62.3 or 1:00:02; NaN for anything else.
 * @param {string} text
 * @returns {number}
 */
export function secondsIn(text) {
  if (!/^\s*(\d+:){0,2}\d+([.,]\d+)?\s*$/.test(text)) return NaN;
  return text.replace(",", ".").split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
}

/**
 * The Latin letter of a key, also with Caps Lock and on keyboards that write another script.
 * @param {KeyboardEvent} event
 * @returns {string} the key itself where it is no letter
 */
export function letterOf(event) {
  if (/^[a-z]$/i.test(event.key)) return event.key.toLowerCase();
  const [, letter] = /^Key([A-Z])$/.exec(event.code) ?? [];
  return letter && event.key > "\x7f" ? letter.toLowerCase() : event.key;
}
