/** The list of files that were chosen, each with its state, its progress and what can be done with it. */

import { duration, say, size } from "./words.js";

/** Speed is that of the last while, in milliseconds. */
const SPEED_WINDOW_MS = 4000;

/** Numbers are written anew this often, in milliseconds: more can't be read. */
const PACE_MS = 200;

/** One file's line. */
export class Row {
  /**
   * @param {HTMLTemplateElement} template
   * @param {File} file
   */
  constructor(template, file) {
    const copy = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
    this.element = /** @type {HTMLElement} */ (copy.firstElementChild);
    this.file = file;
    /** chosen, refused, waiting, sending, sent, failed or cancelled */
    this.state = "chosen";
    this.detail = this.part("[data-detail]");
    this.bar = /** @type {HTMLProgressElement} */ (this.part("progress"));
    this.link = /** @type {HTMLAnchorElement} */ (this.part("[data-job]"));
    this.remove = /** @type {HTMLButtonElement} */ (this.part("[data-remove]"));
    this.cancel = /** @type {HTMLButtonElement} */ (this.part("[data-cancel]"));
    this.retry = /** @type {HTMLButtonElement} */ (this.part("[data-retry]"));
    this.part("[data-name]").textContent = file.name;
    this.remove.setAttribute("aria-label", say("remove_named", { name: file.name }));
    this.cancel.setAttribute("aria-label", say("cancel_named", { name: file.name }));
    this.bar.setAttribute("aria-label", say("progress_named", { name: file.name }));
    /** @type {{at: number, sent: number}[]} */
    this.marks = [];
    this.shownAt = 0;
    this.show("chosen", size(file.size));
  }

  /**
   * @param {string} selector
   * @returns {HTMLElement}
   */
  part(selector) {
    return /** @type {HTMLElement} */ (this.element.querySelector(selector));
  }

  /**
   * Show a state, in words.
   * @param {string} state
   * @param {string} words
   */
  show(state, words) {
    const hadFocus = this.element.contains(document.activeElement);
    this.state = state;
    this.element.dataset.state = state;
    this.detail.textContent = words;
    const isBusy = state === "waiting" || state === "sending";
    this.bar.hidden = !isBusy;
    this.cancel.hidden = !isBusy;
    this.remove.hidden = isBusy;
    this.retry.hidden = state !== "failed";
    this.link.hidden = state !== "sent";
    if (hadFocus && !this.element.contains(document.activeElement)) this.focus();
  }

  /** Put the focus on the first thing that can be done here. */
  focus() {
    const first = [this.link, this.retry, this.cancel, this.remove].find((one) => !one.hidden);
    first?.focus();
  }

  /** Forget how fast it was: the connection is another one. */
  restart() {
    this.marks = [];
  }

  /**
   * So many bytes are sent.
   * @param {number} sent
   */
  progress(sent) {
    const now = performance.now();
    this.marks.push({ at: now, sent });
    while (this.marks.length > 2 && this.marks[0].at < now - SPEED_WINDOW_MS) this.marks.shift();
    if (now - this.shownAt < PACE_MS && sent < this.file.size) return;
    this.shownAt = now;
    const percent = Math.floor((100 * sent) / Math.max(1, this.file.size));
    this.bar.value = percent;
    this.detail.textContent = [say("uploading", { percent, size: size(this.file.size) }), this.speed(sent)]
      .filter(Boolean)
      .join(" · ");
  }

  /**
   * How fast, and how long still.
   * @param {number} sent
   * @returns {string}
   */
  speed(sent) {
    const [first] = this.marks;
    const seconds = (performance.now() - first.at) / 1000;
    if (seconds < 0.3 || sent <= first.sent) return "";
    const speed = (sent - first.sent) / seconds;
    return say("speed", { speed: size(speed), left: duration((this.file.size - sent) / speed) });
  }
}
