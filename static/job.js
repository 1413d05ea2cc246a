/** The page of a job: follows it live, survives a lost connection, and shows the transcript when it is there. */

import { deleteOnList } from "./deletion.js";
import { showAgain } from "./swap.js";
import { announce, duration, language, say } from "./words.js";

const RETRY_MS = 2000;

/**
 * A time in the file, as the server writes it: 1:02.3, and 1:00:02.3 from an hour on.
 * @param {number} seconds
 * @returns {string}
 */
function clock(seconds) {
  const tenths = Math.max(0, Math.round(seconds * 10));
  const minutes = Math.floor(tenths / 600);
  const rest = `${String(Math.floor((tenths % 600) / 10)).padStart(2, "0")}.${tenths % 10}`;
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/**
 * A language's name in the language of the page, and its code.
 * @param {string} code
 * @returns {string}
 */
function languageName(code) {
  const name = new Intl.DisplayNames([language], { type: "language" }).of(code);
  return name && name !== code ? `${name} (${code})` : code;
}

/**
 * Show a fact.
 * @param {HTMLElement} element
 * @param {string} text
 */
function show(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = false;
}

/** Follows one job. */
class Live {
  /** @param {HTMLElement} panel */
  constructor(panel) {
    this.url = /** @type {string} */ (panel.dataset.streamUrl);
    this.seen = Number(panel.dataset.lastEventId);
    this.phase = /** @type {HTMLElement} */ (panel.querySelector("[data-phase]"));
    this.measure = /** @type {HTMLElement} */ (panel.querySelector("[data-measure]"));
    this.language = /** @type {HTMLElement} */ (panel.querySelector("[data-language]"));
    this.runsOn = /** @type {HTMLElement} */ (panel.querySelector("[data-runs-on]"));
    this.degraded = /** @type {HTMLElement} */ (panel.querySelector("[data-degraded]"));
    this.wantsGpu = panel.dataset.wantsGpu === "true";
    this.bar = /** @type {HTMLProgressElement} */ (panel.querySelector("progress"));
    this.connection = /** @type {HTMLElement} */ (panel.querySelector("[data-connection]"));
    this.soFar = /** @type {HTMLElement} */ (document.querySelector("[data-so-far]"));
    this.list = /** @type {HTMLElement} */ (this.soFar.querySelector("[data-segments]"));
    this.row = /** @type {HTMLTemplateElement} */ (this.soFar.querySelector("[data-segment]"));
    this.connect();
  }

  /** Listen from the last segment on that is shown already. */
  connect() {
    const source = new EventSource(`${this.url}?last_event_id=${this.seen}`);
    this.source = source;
    source.addEventListener("open", () => { this.connection.hidden = true; });
    source.addEventListener("progress", (event) => this.onProgress(JSON.parse(event.data)));
    source.addEventListener("segment", (event) => this.onSegment(event));
    source.addEventListener("done", () => this.onEnd());
    // Both the job's own error and a lost connection come under this name; only the former has data.
    source.addEventListener("error", (event) => {
      if (event instanceof MessageEvent) this.onEnd();
      else this.onLost();
    });
  }

  /** @param {{percent: number, stage: string | null, seconds_left: number | null, position: number | null, wait_seconds: number | null, language: string | null, device: string | null}} told */
  onProgress(told) {
    const phase = say(told.stage ?? "waiting");
    // A screen reader speaks each new phase, and not each new number.
    if (this.phase.textContent !== phase) this.phase.textContent = phase;
    this.measure.textContent = told.stage ? this.onRunning(told) : this.onWaiting(told);
    if (told.language) show(this.language, say("language", { name: languageName(told.language) }));
    const isDegraded = told.device === "cpu" && this.wantsGpu;
    this.degraded.hidden = !isDegraded;
    if (told.device) show(this.runsOn, say(told.device === "cuda" ? "gpu" : "cpu"));
    this.runsOn.hidden = !told.device || isDegraded;
    this.runsOn.classList.toggle("gpu", told.device === "cuda");
  }

  /** @param {{percent: number, seconds_left: number | null}} told */
  onRunning({ percent, seconds_left: left }) {
    const whole = Math.floor(percent);
    this.bar.value = whole;
    return left === null ? say("running", { percent: whole }) : say("left", { percent: whole, left: duration(left) });
  }

  /** @param {{position: number | null, wait_seconds: number | null}} told */
  onWaiting({ position, wait_seconds: wait }) {
    this.bar.removeAttribute("value");
    if (position === null) return "";
    return wait === null ? say("place", { position }) : say("place_left", { position, left: duration(wait) });
  }

  /** @param {MessageEvent} event */
  onSegment(event) {
    const segment = JSON.parse(event.data);
    const number = Number(event.lastEventId);
    if (number <= this.seen) return;
    this.seen = number;
    const row = /** @type {DocumentFragment} */ (this.row.content.cloneNode(true));
    const [times, text] = row.querySelectorAll("span");
    times.textContent = `${clock(segment.start)} – ${clock(segment.end)}`;
    text.textContent = segment.text.trim();
    this.list.append(row);
    this.soFar.hidden = false;
  }

  /** The browser connects again by itself, except where the service refused to answer at all. */
  onLost() {
    this.connection.hidden = false;
    if (this.source?.readyState !== EventSource.CLOSED) return;
    setTimeout(() => this.askAgain(), RETRY_MS);
  }

  /** The stream was refused: see what the page says now, and go on from there. */
  askAgain() {
    this.source?.close();
    showAgain().then(follow, () => setTimeout(() => this.askAgain(), RETRY_MS));
  }

  /** It has ended, well or not: the page knows the rest. */
  onEnd() {
    this.source?.close();
    showAgain().then(announceEnd, () => setTimeout(() => this.onEnd(), RETRY_MS));
  }
}

/** Tell screen readers that the page has changed. */
function announceEnd() {
  announce(say(document.querySelector("main [role=alert]") ? "ended" : "ready"));
}

/** Follow the job of this page, if it is not at its end; what is there for want of a script goes. */
function follow() {
  for (const element of document.querySelectorAll("[data-plain]")) {
    if (element instanceof HTMLElement) element.hidden = true;
  }
  const panel = document.querySelector("[data-live]");
  if (panel instanceof HTMLElement) new Live(panel);
}

// The list deletes it, after a while in which that can be undone.
document.addEventListener("submit", (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (!form.dataset.delete) return;
  const name = document.querySelector("h1")?.textContent ?? "";
  if (deleteOnList(form.dataset.delete, name)) event.preventDefault();
});
follow();
