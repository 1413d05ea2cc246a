/** The speakers of a transcript: colours, names, talk time; renamed, merged, and segments moved from one to another. */

import { copyOf } from "./edit.js";
import { partOf } from "./history.js";
import { endOf, rowsOf, startOf } from "./rows.js";

/** Colours there are; further speakers begin anew. */
const COLOURS = 8;

/** Shows and changes who speaks in one text. */
export class Speakers {
  /**
   * @param {HTMLElement} box
   * @param {HTMLElement} text
   * @param {import("./edit.js").Editor} editor
   * @param {AbortSignal} signal
   */
  constructor(box, text, editor, signal) {
    this.box = box;
    this.text = text;
    this.editor = editor;
    this.signal = signal;
    this.talk = /** @type {SVGElement} */ (box.querySelector("[data-talk]"));
    for (const chip of this.chips) this.listen(chip);
    text.addEventListener("changed", (event) => this.onChange(/** @type {CustomEvent} */ (event).detail), { signal });
    text.addEventListener("editing", (event) => this.fill(/** @type {CustomEvent} */ (event).detail), { signal });
    this.offerMerges();
  }

  get chips() {
    return /** @type {HTMLElement[]} */ ([...this.box.querySelectorAll("[data-speaker-id]")]);
  }

  /** @param {HTMLElement} chip */
  listen(chip) {
    const { signal } = this;
    const id = String(chip.dataset.speakerId);
    const name = /** @type {HTMLInputElement} */ (chip.querySelector("[data-speaker-rename]"));
    const other = /** @type {HTMLSelectElement} */ (chip.querySelector("[data-speaker-merge]"));
    name.addEventListener("change", () => this.rename(id, name.value), { signal });
    name.addEventListener("keydown", (event) => { if (event.key === "Enter") this.fold(chip); }, { signal });
    other.addEventListener("change", () => {
      if (other.value) this.merge(id, other.value);
      this.fold(chip);
    }, { signal });
  }

  /** @param {HTMLElement} chip */
  fold(chip) {
    const menu = /** @type {HTMLDetailsElement} */ (chip.querySelector("details"));
    menu.open = false;
    /** @type {HTMLElement} */ (menu.querySelector("summary")).focus();
  }

  /** @param {string} id */
  chipOf(id) {
    return this.chips.find(({ dataset }) => dataset.speakerId === id);
  }

  /** What people read. @param {HTMLElement} chip */
  nameOf({ dataset }) {
    return dataset.name || String(this.box.dataset.unnamed).replace("{id}", String(dataset.speakerId));
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  rename(id, name) {
    const before = this.chipOf(id)?.dataset.name ?? "";
    const after = name.trim().replace(/\s+/g, " ");
    if (before !== after) this.editor.change([], { id, before, after });
  }

  /**
   * All that one said is another's.
   * @param {string} id
   * @param {string} other
   */
  merge(id, other) {
    this.assign(rowsOf(this.text).filter(({ dataset }) => dataset.speaker === id), other);
  }

  /**
   * These rows are said by this speaker.
   * @param {HTMLElement[]} rows
   * @param {string} speaker
   */
  assign(rows, speaker) {
    const moved = rows.filter(({ dataset }) => dataset.speaker !== speaker);
    if (!moved.length) return;
    this.editor.close();
    this.editor.change(moved.filter((row) => row.isConnected).map((row) => partOf([row], [copyOf(row, { speaker })])));
  }

  /** The row is said by the speaker with this number, as the legend counts them. @param {HTMLElement | null} row @param {number} number */
  pick(row, number) {
    const chip = this.chips.filter(({ hidden }) => !hidden)[number - 1];
    if (row && chip) this.assign([row], String(chip.dataset.speakerId));
  }

  /** @param {[string, string] | undefined} naming */
  onChange(naming) {
    const chip = naming && this.chipOf(naming[0]);
    if (chip) {
      chip.dataset.name = naming[1];
      /** @type {HTMLInputElement} */ (chip.querySelector("[data-speaker-rename]")).value = naming[1];
      /** @type {HTMLElement} */ (chip.querySelector("[data-speaker-name]")).textContent = this.nameOf(chip);
    }
    this.refresh();
  }

  /** Names at the turns, colours, shares: as the rows are now. */
  refresh() {
    /** @type {Map<string, number>} */
    const seconds = new Map();
    const chips = new Map(this.chips.map((chip) => [chip.dataset.speakerId, chip]));
    let before = null;
    for (const row of rowsOf(this.text)) {
      const { speaker = "" } = row.dataset;
      const chip = chips.get(speaker);
      if (chip) seconds.set(speaker, (seconds.get(speaker) ?? 0) + endOf(row) - startOf(row));
      const who = /** @type {HTMLElement | null} */ (row.querySelector(".who"));
      if (who && chip) {
        const name = this.nameOf(chip);
        if (who.textContent !== name) who.textContent = name;
        row.dataset.colour = chip.dataset.colour;
      }
      if (who) who.hidden = speaker === before || !chip;
      before = speaker;
    }
    this.drawShares(seconds);
    this.offerMerges();
  }

  /** @param {Map<string, number>} seconds */
  drawShares(seconds) {
    const whole = [...seconds.values()].reduce((sum, one) => sum + one, 0) || 1;
    const bars = [];
    let from = 0;
    for (const chip of this.chips) {
      const share = (100 * (seconds.get(String(chip.dataset.speakerId)) ?? 0)) / whole;
      chip.hidden = share === 0;
      /** @type {HTMLElement} */ (chip.querySelector("[data-share]")).textContent = `${Math.round(share)} %`;
      const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      const attributes = { x: from, width: share, height: 1, class: `voice-${chip.dataset.colour}` };
      for (const [name, value] of Object.entries(attributes)) bar.setAttribute(name, String(value));
      bars.push(bar);
      from += share;
    }
    this.talk.replaceChildren(...bars);
  }

  /** Each may be merged with every other. */
  offerMerges() {
    for (const chip of this.chips) {
      const select = /** @type {HTMLSelectElement} */ (chip.querySelector("[data-speaker-merge]"));
      const others = this.chips.filter((one) => one !== chip && !one.hidden);
      select.replaceChildren(new Option("–", ""), ...others.map((one) => new Option(this.nameOf(one), one.dataset.speakerId)));
    }
  }

  /**
   * The editor of a row offers the speakers, and one more.
   * @param {{form: HTMLElement, row: HTMLElement}} opened
   */
  fill({ form, row }) {
    const select = /** @type {HTMLSelectElement} */ (form.querySelector("[data-speaker-of-row]"));
    const known = this.chips.map((chip) => new Option(this.nameOf(chip), chip.dataset.speakerId));
    const nobody = row.dataset.speaker ? [] : [new Option("–", "")];
    select.replaceChildren(...nobody, ...known, new Option(select.dataset.newSpeaker, "+"));
    select.value = row.dataset.speaker ?? "";
    select.addEventListener("change", () => {
      if (select.value !== "+") return;
      const chip = this.add();
      select.add(new Option(this.nameOf(chip), chip.dataset.speakerId), select.options[select.length - 1]);
      select.value = String(chip.dataset.speakerId);
    });
  }

  /** One more speaker, whom the legend shows once he has said something. */
  add() {
    const known = new Set(this.chips.map(({ dataset }) => dataset.speakerId));
    let number = known.size + 1;
    while (known.has(`S${number}`)) number += 1;
    const letter = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"].find((one) => !known.has(one));
    const chip = /** @type {HTMLElement} */ (this.chips[0].cloneNode(true));
    chip.dataset.speakerId = letter ?? `S${number}`;
    chip.dataset.name = "";
    chip.dataset.colour = String(known.size % COLOURS);
    chip.hidden = true;
    const summary = /** @type {HTMLElement} */ (chip.querySelector("summary"));
    summary.className = `chip voice-${chip.dataset.colour}`;
    /** @type {HTMLElement} */ (chip.querySelector("[data-speaker-name]")).textContent = this.nameOf(chip);
    /** @type {HTMLInputElement} */ (chip.querySelector("[data-speaker-rename]")).value = "";
    this.box.querySelector("ul")?.append(chip);
    this.listen(chip);
    return chip;
  }
}
