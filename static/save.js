/** Saving what was changed in a transcript: one save at a time, nothing lost meanwhile, and others' changes kept. */

import { copyText } from "./copy.js";
import { merge } from "./merge.js";
import { endOf, rowsOf, saidOf, startOf } from "./rows.js";
import { sourcesOf } from "./history.js";
import { explain, token } from "./words.js";

/** @typedef {import("./merge.js").Segment} Segment */

/** Sends the rows of one text to the service. */
export class Saver {
  /**
   * @param {import("./edit.js").Editor} editor
   * @param {() => Promise<void>} reload
   * @param {AbortSignal} signal
   */
  constructor(editor, reload, signal) {
    this.editor = editor;
    this.reload = reload;
    this.isBusy = false;
    this.isWanted = false;
    /** @type {Segment[] | null} the segments of the revision that is edited */
    this.base = null;
    editor.on("[data-copy-mine]", () => copyText(this.mine().map(({ text }) => text).join("\n")), signal);
    editor.on("[data-take-theirs]", () => this.leave(), signal);
  }

  /** Something is about to be changed: what it was until then is needed if somebody else saves first. */
  begin() {
    this.base ??= this.segments(rowsOf(this.editor.text));
  }

  /**
   * @param {HTMLElement[]} rows
   * @returns {Segment[]}
   */
  segments(rows) {
    return rows.map((row) => ({
      start: startOf(row), end: endOf(row), text: saidOf(row).textContent ?? "", sources: sourcesOf(row),
      speaker: row.dataset.speaker ?? null,
    }));
  }

  mine() {
    return this.segments(this.rows());
  }

  /** The service drops segments without text. */
  rows() {
    return rowsOf(this.editor.text).filter((row) => saidOf(row).textContent?.trim());
  }

  /**
   * Save what is on the page. While a save is under way the next one waits for it.
   * @returns {Promise<void>}
   */
  async save() {
    const { editor } = this;
    if (this.isBusy) {
      this.isWanted = true;
      return;
    }
    if (!editor.history.isDirty) return;
    this.isBusy = true;
    this.isWanted = false;
    editor.say("saving");
    const said = await this.attempt().catch(() => /** @type {[string, string]} */ (["failed", ""]));
    this.isBusy = false;
    if (said[0] === "saved" && this.isWanted && editor.history.isDirty) return this.save();
    editor.tell();
    if (said[0] !== "saved" || !editor.isDirty) editor.say(...said);
  }

  /** @returns {Promise<[string, string]>} what to say, and more of it */
  async attempt() {
    const { editor } = this;
    const rows = this.rows();
    const segments = this.segments(rows);
    const settle = editor.history.snapshot(rows);
    const answer = await this.put(segments, String(editor.section.dataset.revision));
    if (answer.status === 412) return this.reconcile(segments);
    const body = await answer.json();
    if (!answer.ok) return ["failed", explain(body.error).message];
    settle();
    this.base = segments;
    editor.section.dataset.revision = body.revision;
    const revision = /** @type {HTMLInputElement | null} */ (document.querySelector("[data-revision-field]"));
    if (revision) revision.value = body.revision;
    for (const mark of document.querySelectorAll("[data-edited]")) if (mark instanceof HTMLElement) mark.hidden = false;
    editor.text.dispatchEvent(new CustomEvent("saved", { detail: { rows: settled(rows), checks: body.checks } }));
    return ["saved", ""];
  }

  /**
   * @param {Segment[]} segments
   * @param {string} revision
   */
  put(segments, revision) {
    return fetch(/** @type {string} */ (this.editor.section.dataset.transcriptUrl), {
      method: "PUT",
      headers: {
        "Content-Type": "application/json", Accept: "application/json", "If-Match": `"r${revision}"`, "X-CSRF-Token": token(),
      },
      body: JSON.stringify({ segments, speakers: this.names() }),
    });
  }

  /** The names of the speakers. */
  names() {
    const all = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-speakers] [data-speaker-id]"));
    return [...all].map(({ dataset }) => ({ id: dataset.speakerId, name: dataset.name ?? "" }));
  }

  /**
   * Somebody else has saved: put both together, where they changed different segments.
   * @param {Segment[]} mine
   * @returns {Promise<[string, string]>}
   */
  async reconcile(mine) {
    const url = /** @type {string} */ (this.editor.section.dataset.transcriptUrl);
    const theirs = await (await fetch(url, { headers: { Accept: "application/json" }, cache: "no-store" })).json();
    const merged = this.base && merge(this.base, mine, theirs.segments);
    if (!merged || this.editor.isChanged()) return ["conflict", ""];
    const answer = await this.put(merged, theirs.revision);
    if (!answer.ok) return ["conflict", ""];
    this.editor.history.saved = this.editor.history.done.at(-1) ?? null;
    await this.reload();
    return ["merged", ""];
  }

  /** Give up what is on the page, and show what the others made. */
  leave() {
    this.editor.drop();
    this.editor.history.saved = this.editor.history.done.at(-1) ?? null;
    location.reload();
  }
}

/**
 * The rows whose findings may have changed, with the places that they have now: those that were edited, and those after.
 * @param {HTMLElement[]} rows
 * @returns {Map<number, HTMLElement>}
 */
function settled(rows) {
  const found = new Map();
  for (const [id, row] of rows.entries()) {
    if (!row.classList.contains("changed") && !rows[id - 1]?.classList.contains("changed")) continue;
    found.set(id, row);
  }
  for (const row of found.values()) row.classList.remove("changed");
  return found;
}
