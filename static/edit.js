/** Correcting a transcript in place: text, times, speaker, split, merge, remove; undo and redo. */

import { History, partOf, sourcesOf } from "./history.js";
import { clock, endOf, placeAt, rowAfter, saidOf, secondsIn, startOf, wordsOf } from "./rows.js";
import { Saver } from "./save.js";

/** A time is the same if it differs by less, in seconds. */
const SAME = 0.0006;

/** Scripts without spaces between words. */
const SPACELESS = "[\\u3040-\\u30ff\\u3400-\\u9fff]";

/** Edits one text. */
export class Editor {
  /**
   * @param {HTMLElement} section
   * @param {HTMLElement} text
   * @param {() => Promise<void>} reload  shows the transcript as the server has it now
   * @param {AbortSignal} signal
   */
  constructor(section, text, reload, signal) {
    this.section = section;
    this.text = text;
    this.history = new History();
    this.saver = new Saver(this, reload, signal);
    this.template = /** @type {HTMLTemplateElement} */ (section.querySelector("template[data-editor]"));
    this.state = /** @type {HTMLElement} */ (section.querySelector("[data-edit-state]"));
    /** @type {HTMLElement | null} */
    this.row = null;
    /** @type {HTMLElement | null} */
    this.form = null;
    this.on("[data-undo]", () => this.undo(), signal);
    this.on("[data-redo]", () => this.redo(), signal);
    this.on("[data-save]", () => this.save(), signal);
    text.addEventListener("dblclick", (event) => this.onDouble(event), { signal });
    addEventListener("beforeunload", (event) => {
      if (this.isDirty || this.saver.isBusy) event.preventDefault();
    }, { signal });
  }

  /** Whether there is something to save. */
  get isDirty() {
    return this.history.isDirty || this.isChanged();
  }

  /**
   * @param {string} selector
   * @param {() => void} action
   * @param {AbortSignal} signal
   */
  on(selector, action, signal) {
    this.section.querySelector(selector)?.addEventListener("click", action, { signal });
  }

  /** @param {MouseEvent} event */
  onDouble(event) {
    const target = /** @type {Element} */ (event.target);
    const row = target.closest(".said")?.closest("li[data-start]");
    if (row instanceof HTMLElement) this.open(row, placeAt(row, event.clientX, event.clientY));
  }

  /**
   * Edit this row.
   * @param {HTMLElement} row
   * @param {number} place  of the cursor in its text
   */
  open(row, place = 0) {
    if (this.row === row) return;
    this.close();
    if (!row.isConnected) return;
    const part = /** @type {DocumentFragment} */ (this.template.content.cloneNode(true));
    const form = /** @type {HTMLElement} */ (part.firstElementChild);
    const said = saidOf(row);
    this.row = row;
    this.form = form;
    this.area.value = said.textContent ?? "";
    this.area.lang = this.text.lang;
    this.putTimes();
    this.text.dispatchEvent(new CustomEvent("editing", { detail: { form, row } }));
    this.listen(form);
    said.hidden = true;
    said.after(form);
    this.measure();
    this.area.focus();
    const cursor = Math.max(0, place);
    this.area.setSelectionRange(cursor, cursor);
    form.scrollIntoView({ block: "nearest" });
  }

  /** @param {HTMLElement} form */
  listen(form) {
    form.addEventListener("input", () => { this.measure(); this.tell(); });
    form.addEventListener("keydown", (event) => this.onKey(event));
    const actions = {
      "[data-done]": () => this.leave(), "[data-cancel]": () => this.cancel(), "[data-split]": () => this.split(),
      "[data-merge]": () => this.merge(), "[data-remove]": () => this.remove(),
    };
    for (const [selector, action] of Object.entries(actions)) {
      form.querySelector(selector)?.addEventListener("click", action);
    }
  }

  get area() {
    return /** @type {HTMLTextAreaElement} */ (this.form?.querySelector("textarea"));
  }

  /** @param {string} selector */
  field(selector) {
    return /** @type {HTMLInputElement} */ (this.form?.querySelector(selector));
  }

  /** Show the times of the row in the editor. */
  putTimes() {
    if (!this.row) return;
    this.field("[data-from]").value = clock(startOf(this.row), 3);
    this.field("[data-to]").value = clock(endOf(this.row), 3);
  }

  /** What the editor holds now. */
  values() {
    const text = this.area.value.split(/\s+/).filter(Boolean).join(" ");
    const chosen = /** @type {HTMLSelectElement | null} */ (this.form?.querySelector("[data-speaker-of-row]") ?? null);
    return {
      text, start: secondsIn(this.field("[data-from]").value), end: secondsIn(this.field("[data-to]").value),
      speaker: chosen ? chosen.value : this.row?.dataset.speaker ?? "",
    };
  }

  /** Whether the open editor holds something else than its row. */
  isChanged() {
    if (!this.row) return false;
    const { text, start, end, speaker } = this.values();
    const isSame = (/** @type {number} */ a, /** @type {number} */ b) => Math.abs(a - b) < SAME;
    return text !== saidOf(this.row).textContent || !isSame(start, startOf(this.row)) || !isSame(end, endOf(this.row))
      || speaker !== (this.row.dataset.speaker ?? "");
  }

  /** What is wrong with the times, by the name of its sentence; empty: nothing. */
  fault() {
    if (!this.row) return "";
    const { start, end } = this.values();
    if (!(end >= start)) return "times";
    const length = Number(this.section.dataset.duration);
    return length > 0 && end > length + 0.05 && end > endOf(this.row) + SAME ? "beyond" : "";
  }

  /** Put what was edited into the text, and shut the editor. A time that is wrong stays as it was. */
  close() {
    if (!this.row || !this.form) return;
    const isWrong = Boolean(this.fault());
    if (isWrong) this.putTimes();
    const { row } = this;
    const { text, start, end, speaker } = this.values();
    const isChanged = this.isChanged();
    this.drop();
    if (isChanged) this.change([partOf([row], text ? [copyOf(row, { text, start, end, speaker })] : [])]);
    if (isWrong) this.say("kept");
  }

  /** Shut the editor, and go back to the row; while a time is wrong, say so instead. */
  leave() {
    const fault = this.fault();
    if (fault) {
      for (const one of /** @type {NodeListOf<HTMLElement>} */ (this.form?.querySelectorAll("[data-wrong]"))) {
        one.hidden = one.dataset.wrong !== fault;
      }
      return;
    }
    const [before, next] = [this.row, this.row && rowAfter(this.row)];
    this.close();
    this.goOn(before, next);
  }

  /**
   * Let the keyboard go on from a row that was edited, or from what was made of it; else from another one.
   * @param {HTMLElement | null} row
   * @param {HTMLElement | null} other
   */
  goOn(row, other = null) {
    focusRow(row?.isConnected ? row : this.history.done.at(-1)?.parts[0]?.made[0] ?? other);
  }

  /** Shut the editor; the row stays as it was. */
  cancel() {
    const { row } = this;
    this.drop();
    this.tell();
    focusRow(row);
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const inText = event.target === this.area;
    if (event.key === "Escape") {
      event.preventDefault();
      const { row } = this;
      this.close();
      this.goOn(row);
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.split();
    } else if (event.key === "Enter" && event.target instanceof HTMLInputElement) {
      event.preventDefault();
      this.leave();
    } else if (event.key === "Enter" && inText && !event.isComposing) {
      event.preventDefault();
      const next = this.row && rowAfter(this.row);
      if (next) this.open(next);
      else this.leave();
    }
  }

  /** Make two of this row, at the cursor. */
  split() {
    if (!this.row) return;
    const { row } = this;
    const whole = this.area.value;
    const place = this.area.selectionStart;
    const [left, right] = [whole.slice(0, place).trim(), whole.slice(place).trim()];
    const { start, end, speaker } = this.values();
    if (!left || !right || this.fault()) return;
    const isSame = whole === saidOf(row).textContent;
    const heard = isSame ? wordsOf(row).find(({ at }) => at >= place)?.begin : undefined;
    const middle = Math.min(end, Math.max(start, heard ?? start + ((end - start) * place) / whole.length));
    this.drop();
    const made = [
      copyOf(row, { text: left, start, end: middle, speaker }), copyOf(row, { text: right, start: middle, end, speaker }),
    ];
    this.change([partOf([row], made)]);
    this.open(made[1]);
  }

  /** Make one of this row and the next. */
  merge() {
    const next = this.row && rowAfter(this.row);
    if (!this.row || !next) return;
    const { row } = this;
    const { text, start, speaker } = this.values();
    const other = saidOf(next).textContent ?? "";
    const isSpaceless = new RegExp(`${SPACELESS}$`).test(text) && new RegExp(`^${SPACELESS}`).test(other);
    this.drop();
    const made = copyOf(row, {
      text: `${text}${isSpaceless ? "" : " "}${other}`.trim(), start: start >= 0 ? start : startOf(row),
      end: Math.max(endOf(row), endOf(next)), speaker,
    });
    made.dataset.sources = [sourcesOf(row), sourcesOf(next)].flat().join(" ");
    this.change([partOf([row, next], [made])]);
    this.open(made);
  }

  /** Take this row out. */
  remove() {
    if (!this.row) return;
    const { row } = this;
    const next = rowAfter(row);
    this.drop();
    this.change([partOf([row], [])]);
    focusRow(next);
  }

  /** Shut the editor and forget what is in it. */
  drop() {
    if (!this.row) return;
    this.form?.remove();
    saidOf(this.row).hidden = false;
    this.row = this.form = null;
  }

  /**
   * Make a change that can be undone.
   * @param {import("./history.js").Part[]} parts
   * @param {import("./history.js").Naming} [naming]
   */
  change(parts, naming) {
    this.saver.begin();
    this.history.make({ parts, naming });
    this.changed(naming && [naming.id, naming.after]);
  }

  undo() {
    this.drop();
    const change = this.history.undo();
    if (!change) return this.tell();
    this.changed(change.naming && [change.naming.id, change.naming.before]);
    if (change.parts.length) focusRow(change.parts[0].old[0]);
  }

  redo() {
    this.drop();
    const change = this.history.redo();
    if (!change) return;
    this.changed(change.naming && [change.naming.id, change.naming.after]);
    if (change.parts.length) focusRow(change.parts[0].made[0] ?? null);
  }

  /** @param {[string, string]} [name]  of a speaker, by its id */
  changed(name) {
    this.text.dispatchEvent(new CustomEvent("changed", { detail: name }));
    this.tell();
  }

  /** Show what can be done now. */
  tell() {
    const enable = (/** @type {string} */ selector, /** @type {boolean} */ on) => {
      /** @type {HTMLButtonElement} */ (this.section.querySelector(selector)).disabled = !on;
    };
    enable("[data-undo]", this.history.done.length > 0);
    enable("[data-redo]", this.history.undone.length > 0);
    enable("[data-save]", this.isDirty);
    if (!this.saver.isBusy) this.say(this.isDirty ? "unsaved" : "");
  }

  /**
   * @param {string} name  of a sentence in the page, or nothing
   * @param {string} more
   */
  say(name, more = "") {
    const words = /** @type {HTMLTemplateElement} */ (this.section.querySelector("[data-words-of-state]")).content;
    const text = name ? `${words.querySelector(`[data-state=${name}]`)?.textContent ?? ""} ${more}`.trim() : "";
    if (this.state.textContent !== text) this.state.textContent = text;
    this.state.hidden = !text;
    this.state.classList.toggle("bad", name === "failed" || name === "conflict");
    this.state.classList.toggle("warn", name === "unsaved" || name === "kept");
    const conflict = /** @type {HTMLElement} */ (this.section.querySelector("[data-conflict]"));
    conflict.hidden = name !== "conflict";
  }

  /** How long the line is, and how fast to read. */
  measure() {
    const { text, start, end } = this.values();
    const speed = text.length / Math.max(0.001, end - start);
    const shown = /** @type {HTMLElement} */ (this.form?.querySelector("[data-measure]"));
    shown.textContent = end > start ? `${text.length} · ${Math.round(speed)}/s` : `${text.length}`;
    shown.classList.toggle("over", speed > Number(shown.dataset.maxSpeed) || text.length > Number(shown.dataset.maxLength));
  }

  /** Save everything that was changed. The keyboard goes on from the row that was edited. */
  save() {
    const { row } = this;
    this.close();
    if (row) this.goOn(row);
    return this.saver.save();
  }
}

/**
 * A row like this one with other text, times or speaker. What was found wrong with the old text goes.
 * @param {HTMLElement} row
 * @param {{text?: string, start?: number, end?: number, speaker?: string}} values
 * @returns {HTMLElement}
 */
export function copyOf(row, { text = saidOf(row).textContent ?? "", start = startOf(row), end = endOf(row), speaker = row.dataset.speaker ?? "" }) {
  const copy = /** @type {HTMLElement} */ (row.cloneNode(true));
  const said = saidOf(copy);
  copy.dataset.sources = sourcesOf(row).join(" ");
  copy.dataset.start = start.toFixed(3);
  copy.dataset.end = end.toFixed(3);
  if (speaker) copy.dataset.speaker = speaker;
  copy.classList.remove("now");
  copy.classList.add("changed");
  copy.removeAttribute("aria-current");
  const times = /** @type {HTMLElement} */ (copy.querySelector(".times"));
  showTimes(times, start, end);
  said.hidden = false;
  if (said.textContent === text && start === startOf(row) && end === endOf(row)) return copy;
  if (said.textContent !== text || start !== startOf(row)) delete copy.dataset.words;
  if (said.textContent !== text) said.textContent = text;
  copy.querySelector(".flags")?.remove();
  delete copy.dataset.suspect;
  return copy;
}

/**
 * @param {HTMLElement} times
 * @param {number} start
 * @param {number} end
 */
function showTimes(times, start, end) {
  const [from, to] = times.children;
  from.textContent = clock(start);
  to.textContent = ` – ${clock(end)}`;
  if (times instanceof HTMLAnchorElement) times.hash = `t=${start.toFixed(2)}`;
}

/** Let the keyboard go on from this row. @param {HTMLElement | null} row */
export function focusRow(row) {
  const times = row?.querySelector(".times");
  if (!(times instanceof HTMLElement)) return;
  if (!(times instanceof HTMLAnchorElement)) times.tabIndex = -1;
  times.focus();
}

