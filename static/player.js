/** The recording in step with the text: a word that is clicked is heard, the word that is heard is lit. */

import { drawWave } from "./wave.js";
import { highlight, placeAt, rangeOf, rowsOf, saidOf, startOf, wordsOf } from "./rows.js";

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 3];

/** Plays the recording of one page. */
export class Player {
  /**
   * @param {HTMLElement} section
   * @param {HTMLElement} text
   * @param {AbortSignal} signal
   */
  constructor(section, text, signal) {
    this.media = /** @type {HTMLMediaElement} */ (section.querySelector("[data-media]"));
    this.cue = /** @type {HTMLElement} */ (section.querySelector("[data-cue]"));
    this.speed = /** @type {HTMLSelectElement} */ (section.querySelector("[data-speed]"));
    this.follow = /** @type {HTMLInputElement} */ (section.querySelector("[data-follow]"));
    this.text = text;
    /** @type {HTMLElement | null} */
    this.row = null;
    this.word = -1;
    /** @type {HTMLElement[]} */
    this.rows = [];
    /** @type {number[]} */
    this.starts = [];
    /** @type {import("./rows.js").Word[]} */
    this.words = [];
    this.refresh();
    text.addEventListener("changed", () => this.refresh(), { signal });
    text.addEventListener("click", (event) => this.onClick(event), { signal });
    for (const name of ["timeupdate", "seeked", "play"]) {
      this.media.addEventListener(name, () => this.onTime(), { signal });
    }
    const unplayable = /** @type {HTMLElement} */ (section.querySelector("[data-unplayable]"));
    this.media.addEventListener("error", () => { unplayable.hidden = false; }, { signal });
    if (this.media.error) unplayable.hidden = false;
    this.speed.addEventListener("change", () => { this.media.playbackRate = Number(this.speed.value); }, { signal });
    this.wave = drawWave(section, this, signal);
  }

  /** Read the rows again, after they have changed. */
  refresh() {
    this.rows = rowsOf(this.text);
    this.starts = this.rows.map(startOf);
    this.row?.classList.remove("now");
    this.row = null;
  }

  /** @param {number} seconds */
  seek(seconds) {
    this.media.currentTime = seconds;
    this.onTime();
  }

  /** Hear it from here on. @param {number} seconds */
  playFrom(seconds) {
    this.seek(seconds);
    this.media.play().catch(() => {});  // it can't be played: the page has said so
  }

  toggle() {
    if (this.media.paused) this.media.play().catch(() => {});
    else this.media.pause();
  }

  /** @param {number} step */
  change(step) {
    const at = SPEEDS.indexOf(Number(this.speed.value)) + step;
    if (!(at in SPEEDS)) return;
    this.speed.value = String(SPEEDS[at]);
    this.media.playbackRate = SPEEDS[at];
  }

  /** @param {MouseEvent} event */
  onClick(event) {
    const target = /** @type {Element} */ (event.target);
    const row = /** @type {HTMLElement | null} */ (target.closest("li[data-start]"));
    if (!row || target.closest(".editor, .flags") || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (target.closest(".times")) {
      event.preventDefault();
      this.playFrom(startOf(row));
    } else if (target.closest(".said") && getSelection()?.isCollapsed !== false) {
      const place = placeAt(row, event.clientX, event.clientY);
      const words = wordsOf(row);
      const word = words.find(({ to }) => place <= to) ?? words.at(-1);
      this.playFrom(word && place >= 0 ? word.begin : startOf(row));
    }
  }

  /** The recording is somewhere: light what is said there. */
  onTime() {
    this.light(this.media.currentTime);
    this.wave();
    if (this.media.paused || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (!this.media.paused && this.text.isConnected) this.onTime();
    });
  }

  /** @param {number} time */
  light(time) {
    let low = 0;
    for (let high = this.starts.length; low < high;) {
      const middle = (low + high) >> 1;
      if (this.starts[middle] <= time + 0.005) low = middle + 1;
      else high = middle;
    }
    const row = low ? this.rows[low - 1] : null;
    if (row !== this.row) this.enter(row);
    const at = row ? this.words.findLastIndex(({ begin }) => begin <= time + 0.005) : -1;
    if (at === this.word) return;
    this.word = at;
    highlight("spoken", row && at >= 0 ? [rangeOf(row, this.words[at].at, this.words[at].to)] : []);
  }

  /** @param {HTMLElement | null} row */
  enter(row) {
    this.row?.classList.remove("now");
    this.row?.removeAttribute("aria-current");
    this.row = row;
    this.word = -2;
    this.words = row ? wordsOf(row) : [];
    this.cue.textContent = row ? saidOf(row).textContent : "";
    row?.classList.add("now");
    row?.setAttribute("aria-current", "true");
    if (row && this.follow.checked && !this.media.paused && !this.text.querySelector(".editor")) show(row);
  }
}

/** Bring a row into view, if it is not. @param {HTMLElement} row */
export function show(row) {
  const { top, bottom } = row.getBoundingClientRect();
  const dock = document.querySelector("[data-player]")?.getBoundingClientRect().bottom ?? 0;
  if (top < Math.max(0, dock) || bottom > innerHeight - 40) row.scrollIntoView({ block: "center" });
}
