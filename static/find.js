/** Search in the text of a transcript. */

import { highlight, pause, rangeOf, rowsOf, saidOf } from "./rows.js";
import { show } from "./player.js";

const WAIT_MS = 120;

/** Rows that are looked through, and places that are marked, before the browser gets its turn. */
const AT_ONCE = 200;

/** More places than this are counted, but not marked. */
const MAX_MARKED = 2000;

/** Finds places in one text. */
export class Find {
  /**
   * @param {HTMLElement} section
   * @param {HTMLElement} text
   * @param {AbortSignal} signal
   */
  constructor(section, text, signal) {
    this.text = text;
    this.input = /** @type {HTMLInputElement} */ (section.querySelector("[data-find]"));
    this.shown = /** @type {HTMLElement} */ (section.querySelector("[data-found]"));
    this.buttons = /** @type {HTMLButtonElement[]} */ ([...section.querySelectorAll("[data-find-previous], [data-find-next]")]);
    /** @type {{row: HTMLElement, at: number}[]} */
    this.places = [];
    this.current = -1;
    this.turn = 0;
    this.input.addEventListener("input", () => this.soon(), { signal });
    this.input.addEventListener("keydown", (event) => this.onKey(event), { signal });
    section.querySelector("[data-find-next]")?.addEventListener("click", () => this.go(1), { signal });
    section.querySelector("[data-find-previous]")?.addEventListener("click", () => this.go(-1), { signal });
    text.addEventListener("changed", () => { if (this.input.value) this.soon(); }, { signal });
    signal.addEventListener("abort", () => { this.turn += 1; });
  }

  soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.search(), WAIT_MS);
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (event.key === "Enter") {
      event.preventDefault();
      this.go(event.shiftKey ? -1 : 1);
    } else if (event.key === "Escape") {
      this.input.value = "";
      this.search();
    }
  }

  /** Find all places, a few rows at a time; a newer search ends an older one. */
  async search() {
    this.turn += 1;
    const turn = this.turn;
    const wanted = this.input.value.trim().toLowerCase();
    this.places = [];
    this.current = -1;
    const rows = wanted ? rowsOf(this.text) : [];
    for (let from = 0; from < rows.length; from += AT_ONCE) {
      for (const row of rows.slice(from, from + AT_ONCE)) this.look(row, wanted);
      await pause();
      if (turn !== this.turn) return;
    }
    this.tell(wanted);
    await this.mark(wanted.length, turn);
  }

  /**
   * @param {HTMLElement} row
   * @param {string} wanted
   */
  look(row, wanted) {
    const text = (saidOf(row).textContent ?? "").toLowerCase();
    for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
      this.places.push({ row, at });
    }
  }

  /**
   * @param {number} length
   * @param {number} turn
   */
  async mark(length, turn) {
    const ranges = [];
    for (const { row, at } of this.places.slice(0, MAX_MARKED)) {
      ranges.push(rangeOf(row, at, at + length));
      if (ranges.length % AT_ONCE === 0) await pause();
      if (turn !== this.turn) return;
    }
    highlight("found", ranges);
    highlight("found-now", []);
  }

  /** @param {string} wanted */
  tell(wanted) {
    const count = this.places.length;
    this.shown.textContent = wanted ? `${this.current >= 0 ? `${this.current + 1} / ` : ""}${count}` : "";
    for (const button of this.buttons) button.disabled = count === 0;
  }

  /** Go to the next place, or the one before. @param {number} step */
  go(step) {
    const count = this.places.length;
    if (!count) return;
    this.current = this.current < 0 && step < 0 ? count - 1 : (this.current + step + count) % count;
    const { row, at } = this.places[this.current];
    const wanted = this.input.value.trim();
    highlight("found-now", [rangeOf(row, at, at + wanted.length)]);
    show(row);
    this.tell(wanted);
  }
}
