/** Correcting a transcript in place: text, times, split, merge, remove; undo, and saving on the server. */

import { clock, endOf, rowAfter, rowsOf, saidOf, secondsIn, startOf, wordsOf } from "./rows.js";
import { explain, token } from "./words.js";

/** @typedef {{mark: Comment, old: HTMLElement[], made: HTMLElement[]}} Change */

/** Edits one text. */
export class Editor {
  /**
   * @param {HTMLElement} section
   * @param {HTMLElement} text
   * @param {(at: number) => Promise<void>} onSaved  shows the transcript as the server has it now, with the focus on
   *   this row; -1: on none
   * @param {AbortSignal} signal
   */
  constructor(section, text, onSaved, signal) {
    this.section = section;
    this.text = text;
    this.onSaved = onSaved;
    this.template = /** @type {HTMLTemplateElement} */ (section.querySelector("template[data-editor]"));
    this.state = /** @type {HTMLElement} */ (section.querySelector("[data-edit-state]"));
    /** @type {Change[]} */
    this.done = [];
    /** @type {Change[]} */
    this.undone = [];
    /** @type {HTMLElement | null} */
    this.row = null;
    /** @type {HTMLElement | null} */
    this.form = null;
    this.on("[data-undo]", () => this.undo(), signal);
    this.on("[data-redo]", () => this.redo(), signal);
    this.on("[data-save]", () => this.save(), signal);
    text.addEventListener("dblclick", (event) => this.onDouble(event), { signal });
    addEventListener("beforeunload", (event) => { if (this.isDirty) event.preventDefault(); }, { signal });
  }

  /** Whether there is something to save. */
  get isDirty() {
    return this.done.length > 0 || this.isChanged();
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
    if (row instanceof HTMLElement) this.open(row);
  }

  /** Edit this row. @param {HTMLElement} row */
  open(row) {
    if (this.row === row) return;
    if (!this.close()) return;
    if (!row.isConnected) return;
    const part = /** @type {DocumentFragment} */ (this.template.content.cloneNode(true));
    const form = /** @type {HTMLElement} */ (part.firstElementChild);
    const said = saidOf(row);
    this.row = row;
    this.form = form;
    this.area.value = said.textContent ?? "";
    this.area.lang = this.text.lang;
    this.field("[data-from]").value = clock(startOf(row), 3);
    this.field("[data-to]").value = clock(endOf(row), 3);
    this.listen(form);
    said.hidden = true;
    said.after(form);
    this.measure();
    this.area.focus();
    this.area.setSelectionRange(0, 0);
    form.scrollIntoView({ block: "nearest" });
  }

  /** @param {HTMLElement} form */
  listen(form) {
    form.addEventListener("input", () => { this.measure(); this.tell(); });
    form.addEventListener("keydown", (event) => this.onKey(event));
    const actions = {
      "[data-done]": () => this.leave(), "[data-split]": () => this.split(),
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

  /** What the editor holds now. */
  values() {
    const text = this.area.value.split(/\s+/).filter(Boolean).join(" ");
    return { text, start: secondsIn(this.field("[data-from]").value), end: secondsIn(this.field("[data-to]").value) };
  }

  /** Whether the open editor holds something else than its row. */
  isChanged() {
    if (!this.row) return false;
    const { text, start, end } = this.values();
    /** @type {(a: number, b: number) => boolean} */
    const same = (a, b) => Math.abs(a - b) < 0.0006;
    return text !== saidOf(this.row).textContent || !same(start, startOf(this.row)) || !same(end, endOf(this.row));
  }

  /** Put what was edited into the text, and shut the editor. @returns {boolean} false: a time is wrong */
  close() {
    if (!this.row || !this.form) return true;
    const { row, form } = this;
    const { text, start, end } = this.values();
    if (!(end >= start)) {
      /** @type {HTMLElement} */ (form.querySelector("[data-wrong]")).hidden = false;
      return false;
    }
    const changed = this.isChanged();
    form.remove();
    saidOf(row).hidden = false;
    this.row = this.form = null;
    if (changed) this.change([row], text ? [copyOf(row, { text, start, end })] : []);
    return true;
  }

  /** Shut the editor, and go back to the row. */
  leave() {
    const next = this.row && rowAfter(this.row);
    const before = this.row;
    if (!this.close()) return;
    const row = before?.isConnected ? before : this.done.at(-1)?.made[0] ?? next;
    focusRow(row);
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const inText = event.target === this.area;
    if (event.key === "Escape" || (event.key === "Enter" && !inText)) {
      event.preventDefault();
      this.leave();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.split();
    } else if (event.key === "Enter") {
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
    const { start, end } = this.values();
    if (!left || !right || !(end >= start)) return;
    const isSame = whole === saidOf(row).textContent;
    const heard = isSame ? wordsOf(row).find(({ at }) => at >= place)?.begin : undefined;
    const middle = Math.min(end, Math.max(start, heard ?? start + ((end - start) * place) / whole.length));
    this.drop();
    const made = [copyOf(row, { text: left, start, end: middle }), copyOf(row, { text: right, start: middle, end })];
    this.change([row], made);
    this.open(made[1]);
  }

  /** Make one of this row and the next. */
  merge() {
    const next = this.row && rowAfter(this.row);
    if (!this.row || !next) return;
    const { row } = this;
    const { text, start } = this.values();
    const other = saidOf(next).textContent ?? "";
    const glue = /[\u3040-\u30ff\u3400-\u9fff]$/.test(text) && /^[\u3040-\u30ff\u3400-\u9fff]/.test(other) ? "" : " ";
    this.drop();
    const made = copyOf(row, {
      text: `${text}${glue}${other}`.trim(), start: start >= 0 ? start : startOf(row), end: Math.max(endOf(row), endOf(next)),
    });
    made.dataset.sources = [sourcesOf(row), sourcesOf(next)].flat().join(" ");
    this.change([row, next], [made]);
    this.open(made);
  }

  /** Take this row out. */
  remove() {
    if (!this.row) return;
    const { row } = this;
    const next = rowAfter(row);
    this.drop();
    this.change([row], []);
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
   * Put rows in place of others, so that it can be undone.
   * @param {HTMLElement[]} old
   * @param {HTMLElement[]} made
   */
  change(old, made) {
    const mark = document.createComment("");
    old[0].before(mark);
    this.done.push({ mark, old, made });
    this.undone = [];
    put(mark, old, made);
    this.changed();
  }

  undo() {
    this.drop();
    const last = this.done.pop();
    if (!last) return this.tell();
    this.undone.push(last);
    put(last.mark, last.made, last.old);
    this.changed();
    focusRow(last.old[0]);
  }

  redo() {
    this.drop();
    const last = this.undone.pop();
    if (!last) return;
    this.done.push(last);
    put(last.mark, last.old, last.made);
    this.changed();
    focusRow(last.made[0] ?? null);
  }

  changed() {
    this.text.dispatchEvent(new Event("changed"));
    this.tell();
  }

  /** Show what can be done now. */
  tell() {
    /** @type {(selector: string, on: boolean) => void} */
    const enable = (selector, on) => {
      /** @type {HTMLButtonElement} */ (this.section.querySelector(selector)).disabled = !on;
    };
    enable("[data-undo]", this.done.length > 0);
    enable("[data-redo]", this.undone.length > 0);
    enable("[data-save]", this.isDirty);
    this.say(this.isDirty ? "unsaved" : "");
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
    this.state.classList.toggle("bad", name === "failed" || name === "changed");
    this.state.classList.toggle("warn", name === "unsaved");
  }

  /** How long the line is, and how fast to read. */
  measure() {
    const { text, start, end } = this.values();
    const speed = text.length / Math.max(0.001, end - start);
    const shown = /** @type {HTMLElement} */ (this.form?.querySelector("[data-measure]"));
    shown.textContent = end > start ? `${text.length} · ${Math.round(speed)}/s` : `${text.length}`;
    shown.classList.toggle("over", speed > Number(shown.dataset.maxSpeed) || text.length > Number(shown.dataset.maxLength));
  }

  /** Save everything; the server then shows it with its checks. */
  async save() {
    const row = this.row ?? document.activeElement?.closest("li[data-start]");
    const at = row instanceof HTMLElement ? rowsOf(this.text).indexOf(row) : -1;
    if (!this.close() || !this.done.length) return;
    this.say("saving");
    const segments = rowsOf(this.text).map((row) => ({
      start: startOf(row), end: endOf(row), text: saidOf(row).textContent, sources: sourcesOf(row),
    }));
    try {
      const answer = await fetch(/** @type {string} */ (this.section.dataset.transcriptUrl), {
        method: "PUT",
        headers: {
          "Content-Type": "application/json", Accept: "application/json", "If-Match": `"r${this.section.dataset.revision}"`,
          "X-CSRF-Token": token(),
        },
        body: JSON.stringify({ segments }),
      });
      if (!answer.ok) {
        const { error } = await answer.json();
        this.say(answer.status === 412 ? "changed" : "failed", answer.status === 412 ? "" : explain(error).message);
        return;
      }
    } catch {
      this.say("failed");
      return;
    }
    this.done = [];
    await this.onSaved(at).catch(() => location.reload());
  }
}

/**
 * The ids of the segments that a row was made of.
 * @param {HTMLElement} row
 * @returns {number[]}
 */
function sourcesOf(row) {
  return (row.dataset.sources ?? row.dataset.id ?? "").split(" ").filter(Boolean).map(Number);
}

/**
 * A row like this one with other text or times. What was found wrong with the old text goes.
 * @param {HTMLElement} row
 * @param {{text: string, start: number, end: number}} values
 * @returns {HTMLElement}
 */
function copyOf(row, { text, start, end }) {
  const copy = /** @type {HTMLElement} */ (row.cloneNode(true));
  const said = saidOf(copy);
  copy.dataset.sources = sourcesOf(row).join(" ");
  copy.dataset.start = start.toFixed(3);
  copy.dataset.end = end.toFixed(3);
  copy.classList.remove("now");
  copy.classList.add("changed");
  copy.removeAttribute("aria-current");
  const times = /** @type {HTMLElement} */ (copy.querySelector(".times"));
  times.textContent = `${clock(start)} – ${clock(end)}`;
  if (times instanceof HTMLAnchorElement) times.hash = `t=${start.toFixed(2)}`;
  said.hidden = false;
  if (said.textContent !== text || start !== startOf(row)) delete copy.dataset.words;
  if (said.textContent !== text) said.textContent = text;
  copy.querySelector(".flags")?.remove();
  delete copy.dataset.suspect;
  return copy;
}

/**
 * Put `made` behind the mark, where `old` was.
 * @param {Comment} mark
 * @param {HTMLElement[]} old
 * @param {HTMLElement[]} made
 */
function put(mark, old, made) {
  for (const row of old) row.remove();
  mark.after(...made);
}

/** Let the keyboard go on from this row. @param {HTMLElement | null} row */
export function focusRow(row) {
  const times = row?.querySelector(".times");
  if (!(times instanceof HTMLElement)) return;
  if (!(times instanceof HTMLAnchorElement)) times.tabIndex = -1;
  times.focus();
}
