/** Search in the text of a transcript, also over the end of a segment, and replace what is found. */

import { copyOf } from "./edit.js";
import { partOf } from "./history.js";
import { highlight, pause, rangeOf, rowAfter, rowsOf, saidOf } from "./rows.js";
import { show } from "./player.js";

const WAIT_MS = 120;

/** Rows that are looked through, and places that are marked, before the browser gets its turn. */
const AT_ONCE = 200;

/** More places than this are counted, but not marked. */
const MAX_MARKED = 2000;

/** A place; `next`: how much of it is in the row after. @typedef {{row: HTMLElement, at: number, to: number, next: number}} Place */

/** Finds places in one text. */
export class Find {
  /**
   * @param {HTMLElement} section
   * @param {HTMLElement} text
   * @param {import("./edit.js").Editor} editor
   * @param {AbortSignal} signal
   */
  constructor(section, text, editor, signal) {
    this.text = text;
    this.editor = editor;
    const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (section.querySelector(`[data-${name}]`));
    this.input = /** @type {HTMLInputElement} */ (part("find"));
    this.shown = part("found");
    this.replacer = part("replacer");
    this.replacement = /** @type {HTMLInputElement} */ (part("replacement"));
    this.buttons = /** @type {HTMLButtonElement[]} */ ([part("find-previous"), part("find-next"), part("replace-one"), part("replace-all")]);
    /** @type {Place[]} */
    this.places = [];
    this.current = -1;
    this.turn = 0;
    this.searched = Promise.resolve();
    this.input.addEventListener("input", () => this.soon(), { signal });
    this.input.addEventListener("keydown", (event) => this.onKey(event), { signal });
    this.replacement.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.replaceOne();
      if (event.key === "Escape") this.closeReplacer();
    }, { signal });
    const clicks = {
      "find-next": () => this.go(1), "find-previous": () => this.go(-1), "open-replace": () => this.openReplacer(),
      "replace-one": () => this.replaceOne(), "replace-all": () => this.replaceAll(), "replace-close": () => this.closeReplacer(),
    };
    for (const [name, action] of Object.entries(clicks)) part(name)?.addEventListener("click", action, { signal });
    text.addEventListener("changed", () => { if (this.input.value) this.soon(); }, { signal });
    signal.addEventListener("abort", () => { this.turn += 1; clearTimeout(this.timer); });
    for (const button of this.buttons) button.disabled = true;
  }

  soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { this.searched = this.search(); }, WAIT_MS);
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

  openReplacer() {
    this.replacer.hidden = false;
    (this.input.value ? this.replacement : this.input).focus();
  }

  closeReplacer() {
    this.replacer.hidden = true;
    this.input.focus();
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
      for (let at = from; at < Math.min(rows.length, from + AT_ONCE); at += 1) this.look(rows[at], rows[at + 1], wanted);
      await pause();
      if (turn !== this.turn) return;
    }
    this.tell(wanted);
    await this.mark(turn);
  }

  /**
   * @param {HTMLElement} row
   * @param {HTMLElement | undefined} next
   * @param {string} wanted
   */
  look(row, next, wanted) {
    const text = (saidOf(row).textContent ?? "").toLowerCase();
    const size = wanted.length;
    for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + size)) {
      this.places.push({ row, at, to: at + size, next: 0 });
    }
    if (!next || size < 2 || !/\s/.test(wanted)) return;
    // What begins here and ends in the next row, with a space between them.
    const tail = text.slice(-(size - 1));
    const head = (saidOf(next).textContent ?? "").slice(0, size - 1).toLowerCase();
    const at = `${tail} ${head}`.indexOf(wanted);
    const over = at + size - tail.length - 1;
    if (at >= 0 && at < tail.length && over > 0) {
      this.places.push({ row, at: text.length - tail.length + at, to: text.length, next: over });
    }
  }

  /**
   * What is to be highlighted of a place.
   * @param {Place} place
   */
  ranges({ row, at, to, next }) {
    const after = next ? rowAfter(row) : null;
    return [rangeOf(row, at, to), ...after ? [rangeOf(after, 0, next)] : []];
  }

  /** @param {number} turn */
  async mark(turn) {
    const ranges = [];
    for (const [number, place] of this.places.slice(0, MAX_MARKED).entries()) {
      ranges.push(...this.ranges(place));
      if (number % AT_ONCE === AT_ONCE - 1) await pause();
      if (turn !== this.turn) return;
    }
    highlight("found", ranges);
    highlight("found-now", []);
  }

  /** How many there are, and which is shown. @param {string} wanted */
  tell(wanted) {
    const count = this.places.length;
    this.shown.textContent = wanted ? `${this.current >= 0 ? `${this.current + 1} / ` : ""}${count}` : "";
    for (const button of this.buttons) button.disabled = count === 0;
  }

  /**
   * Go to the next place, or the one before.
   * @param {number} step
   * @returns {Place | undefined}
   */
  go(step) {
    const count = this.places.length;
    if (!count) return undefined;
    this.current = this.current < 0 && step < 0 ? count - 1 : (this.current + step + count) % count;
    const place = this.places[this.current];
    highlight("found-now", this.ranges(place));
    show(place.row);
    this.tell(this.input.value.trim());
    return place;
  }

  /** Put the replacement where the shown place is, and go to the next one. */
  async replaceOne() {
    await this.searched;
    const place = this.current >= 0 ? this.places[this.current] : this.go(1);
    if (!place) return;
    const at = this.current;
    this.replace([place]);
    clearTimeout(this.timer);
    await this.search();
    this.current = Math.min(at, this.places.length) - 1;
    this.go(1);
  }

  /** Put the replacement everywhere, as one change. */
  async replaceAll() {
    await this.searched;
    this.replace(this.places);
    clearTimeout(this.timer);
    await this.search();
  }

  /**
   * Places over two rows are left: no word of them belongs to one row alone.
   * @param {Place[]} places
   */
  replace(places) {
    this.editor.close();
    /** @type {Map<HTMLElement, Place[]>} */
    const byRow = new Map();
    for (const place of places) {
      if (!place.next && place.row.isConnected) byRow.set(place.row, [...byRow.get(place.row) ?? [], place]);
    }
    const parts = [...byRow].map(([row, found]) => {
      let text = saidOf(row).textContent ?? "";
      for (const { at, to } of found.toReversed()) text = text.slice(0, at) + this.replacement.value + text.slice(to);
      text = text.split(/\s+/).filter(Boolean).join(" ");
      return partOf([row], text ? [copyOf(row, { text })] : []);
    });
    if (parts.length) this.editor.change(parts);
  }
}
