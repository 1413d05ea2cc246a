/** The recording in step with the text: a word that is clicked is heard, the word that is heard is lit. */

import { drawWave } from "./wave.js";
import { clock, endOf, highlight, placeAt, rangeOf, rowsOf, startOf, wordsOf } from "./rows.js";

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 3];

/** A click plays once it can't become a double click any more, which edits; in milliseconds. */
const DOUBLE_CLICK_MS = 280;

/** Plays the recording of one page. */
export class Player {
  /**
   * @param {HTMLElement} section
   * @param {HTMLElement} bar
   * @param {HTMLElement} text
   * @param {AbortSignal} signal
   */
  constructor(section, bar, text, signal) {
    const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (section.querySelector(`[data-${name}]`));
    this.media = /** @type {HTMLMediaElement} */ (part("media"));
    this.speed = /** @type {HTMLSelectElement} */ (part("speed"));
    this.follow = /** @type {HTMLInputElement} */ (part("follow"));
    this.position = /** @type {HTMLInputElement} */ (part("seek"));
    this.button = part("toggle");
    this.now = part("now");
    this.text = text;
    /** @type {HTMLElement | null} */
    this.row = null;
    /** @type {HTMLElement | null} the row that is heard over and over */
    this.repeated = null;
    this.word = -1;
    /** @type {HTMLElement[]} */
    this.rows = [];
    /** @type {number[]} */
    this.starts = [];
    /** @type {import("./rows.js").Word[]} */
    this.words = [];
    this.refresh();
    bar.hidden = false;
    if (this.media instanceof HTMLAudioElement) this.media.hidden = true;
    text.addEventListener("changed", () => this.refresh(), { signal });
    text.addEventListener("click", (event) => this.onClick(event), { signal });
    text.addEventListener("dblclick", () => this.takeBack(), { signal });
    for (const name of ["timeupdate", "seeked", "play", "pause", "ended"]) {
      this.media.addEventListener(name, () => this.onTime(), { signal });
    }
    this.button.addEventListener("click", () => this.toggle(), { signal });
    this.position.addEventListener("input", () => this.seek(Number(this.position.value)), { signal });
    const unplayable = part("unplayable");
    this.media.addEventListener("error", () => { unplayable.hidden = false; }, { signal });
    if (this.media.error) unplayable.hidden = false;
    this.speed.addEventListener("change", () => { this.media.playbackRate = Number(this.speed.value); }, { signal });
    signal.addEventListener("abort", () => clearTimeout(this.timer));
    this.wave = drawWave(section, this, signal);
    this.showState();
  }

  /** Read the rows again, after they have changed. */
  refresh() {
    this.rows = rowsOf(this.text);
    this.starts = this.rows.map(startOf);
    this.row?.classList.remove("now");
    this.row = null;
    this.repeated = null;
  }

  /** @param {number} seconds */
  seek(seconds) {
    this.media.currentTime = seconds;
    this.onTime();
  }

  play() {
    this.media.play().catch(() => {});  // it can't be played, or not without a click: the page shows that it is silent
  }

  /** Hear it from here on. @param {number} seconds */
  playFrom(seconds) {
    this.seek(seconds);
    this.play();
  }

  toggle() {
    if (this.media.paused) this.play();
    else this.media.pause();
  }

  /** Hear this row over and over; once more: stop that. @param {HTMLElement | null} row */
  repeat(row) {
    this.text.querySelector("li.repeated")?.classList.remove("repeated");
    this.repeated = this.repeated === row ? null : row;
    if (!this.repeated) return;
    this.repeated.classList.add("repeated");
    this.playFrom(startOf(this.repeated));
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
    } else if (target.closest(".said") && event.detail <= 1 && getSelection()?.isCollapsed !== false) {
      const place = placeAt(row, event.clientX, event.clientY);
      const words = wordsOf(row);
      const word = words.find(({ to }) => place <= to) ?? words.at(-1);
      this.before = this.media.currentTime;
      this.seek(word && place >= 0 ? word.begin : startOf(row));
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.play(), DOUBLE_CLICK_MS);
    }
  }

  /** It was a double click: the recording stays where it was. */
  takeBack() {
    clearTimeout(this.timer);
    if (this.before !== undefined) this.seek(this.before);
    this.before = undefined;
  }

  /** The recording is somewhere: light what is said there. */
  onTime() {
    const { repeated, media } = this;
    if (repeated && (media.currentTime >= endOf(repeated) || media.ended)) media.currentTime = startOf(repeated);
    this.light(media.currentTime);
    this.wave();
    this.showState();
    if (media.paused || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (!media.paused && this.text.isConnected) this.onTime();
    });
  }

  /** What the bar says. */
  showState() {
    const { paused, currentTime } = this.media;
    const state = paused ? "play" : "pause";
    if (this.button.dataset.state !== state) {
      this.button.dataset.state = state;
      this.button.setAttribute("aria-label", this.button.dataset[state] ?? "");
    }
    const now = clock(currentTime, 0);
    if (this.now.textContent === now) return;
    this.now.textContent = now;
    this.position.value = String(currentTime);
    this.position.setAttribute("aria-valuetext", now);
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
    row?.classList.add("now");
    row?.setAttribute("aria-current", "true");
    if (row && this.follow.checked && !this.media.paused && !this.text.querySelector(".editor")) show(row);
  }
}

/** Bring a row into view, if it is not. @param {HTMLElement} row */
export function show(row) {
  const { top, bottom } = row.getBoundingClientRect();
  const bar = document.querySelector("[data-bar]");
  const sticky = bar instanceof HTMLElement && getComputedStyle(bar).position === "sticky" ? bar.offsetHeight : 0;
  if (top < sticky || bottom > innerHeight - 40) row.scrollIntoView({ block: "center" });
}
