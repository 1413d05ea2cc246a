/** The page of a finished transcript: player, search, corrections and keys, put together. */

import { enhanceCopyButtons } from "./copy.js";
import { Editor, focusRow } from "./edit.js";
import { Find } from "./find.js";
import { Player, show } from "./player.js";
import { rowAfter, rowBefore, rowsOf } from "./rows.js";

const KEYS_OFF = "transcriber-keys-off";

/** What belongs to the transcript that is shown now ends with it. */
let present = new AbortController();

/** Make the transcript of this page, if it has one, come alive. */
function start() {
  const section = document.querySelector("[data-transcript]");
  const text = section?.querySelector("[data-text]");
  if (!(section instanceof HTMLElement) || !(text instanceof HTMLElement)) return;
  present.abort();
  present = new AbortController();
  const { signal } = present;
  for (const element of document.querySelectorAll("main [data-script-only]")) {
    if (element instanceof HTMLElement) element.hidden = false;
  }
  const playing = document.querySelector("[data-player]");
  const player = playing instanceof HTMLElement ? new Player(playing, text, signal) : null;
  if (!section.querySelector("[data-find]")) return;
  const editor = new Editor(section, text, again, signal);
  const find = new Find(section, text, signal);
  const suspect = /** @type {HTMLElement} */ (section.querySelector("[data-next-suspect]"));
  suspect.hidden = !text.querySelector("[data-suspect]");
  suspect.addEventListener("click", () => step(text, 1), { signal });
  rove(text, signal);
  listen({ player, editor, find, text }, signal);
  enhanceCopyButtons();
}

/** Show the transcript as the server has it now; the recording plays on. @param {number} at the row that gets the focus */
async function again(at) {
  const section = /** @type {HTMLElement} */ (document.querySelector("[data-transcript]"));
  const answer = await fetch(/** @type {string} */ (section.dataset.pageUrl), { headers: { Accept: "text/html" }, cache: "no-store" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-transcript]");
  if (!answer.ok || !fresh) throw new Error(`status ${answer.status}`);
  const hadFocus = section.contains(document.activeElement);
  const place = scrollY;
  section.replaceWith(fresh);
  start();
  if (at >= 0) focusRow(rowsOf(fresh)[at] ?? null);
  else if (hadFocus) /** @type {HTMLElement} */ (fresh.querySelector("[data-edit]")).focus();
  scrollTo(0, place);
  const state = /** @type {HTMLElement} */ (fresh.querySelector("[data-edit-state]"));
  const words = /** @type {HTMLTemplateElement} */ (fresh.querySelector("[data-words-of-state]")).content;
  state.textContent = words.querySelector("[data-state=saved]")?.textContent ?? "";
  state.hidden = false;
}

/**
 * One row is in the order of the Tab key, the others are reached with the arrows.
 * @param {HTMLElement} text
 * @param {AbortSignal} signal
 */
function rove(text, signal) {
  let held = /** @type {HTMLElement | null} */ (null);
  /** @param {HTMLElement} times */
  const hold = (times) => {
    if (held) held.tabIndex = -1;
    held = times;
    times.tabIndex = 0;
  };
  const spread = () => {
    const all = /** @type {HTMLElement[]} */ ([...text.querySelectorAll("a.times")]);
    for (const times of all) if (times !== held) times.tabIndex = -1;
    if (all.length && !held?.isConnected) hold(all[0]);
  };
  spread();
  text.addEventListener("changed", spread, { signal });
  text.addEventListener("focusin", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.matches("a.times")) hold(target);
  }, { signal });
}

/** @type {HTMLElement | null} */
let clicked = null;

/**
 * The row that is meant: the one with the focus, else the last that was clicked, the one that is heard, or the first.
 * @param {HTMLElement} text
 * @returns {HTMLElement | null}
 */
function currentRow(text) {
  const focused = document.activeElement?.closest("li[data-start]");
  const last = clicked?.isConnected ? clicked : null;
  const row = focused ?? last ?? text.querySelector("li.now") ?? text.querySelector("li[data-start]");
  return /** @type {HTMLElement | null} */ (row);
}

/**
 * Go to the next suspect segment, or the one before; around the end.
 * @param {HTMLElement} text
 * @param {number} by
 */
function step(text, by) {
  const suspects = rowsOf(text).filter((row) => "suspect" in row.dataset);
  const at = text.querySelector("li.at") ?? currentRow(text);
  if (!suspects.length || !at) return;
  /** @param {HTMLElement} row */
  const follows = (row) => Boolean(at.compareDocumentPosition(row) & Node.DOCUMENT_POSITION_FOLLOWING);
  /** @param {HTMLElement} row */
  const precedes = (row) => Boolean(at.compareDocumentPosition(row) & Node.DOCUMENT_POSITION_PRECEDING);
  const row = by > 0 ? suspects.find(follows) ?? suspects[0] : suspects.findLast(precedes) ?? suspects[suspects.length - 1];
  at.classList.remove("at");
  row.classList.add("at");
  show(row);
  focusRow(row);
}

/**
 * Keys for the whole page.
 * @param {{player: Player | null, editor: Editor, find: Find, text: HTMLElement}} parts
 * @param {AbortSignal} signal
 */
function listen({ player, editor, find, text }, signal) {
  const help = /** @type {HTMLDialogElement | null} */ (document.querySelector("dialog[data-shortcuts]"));
  const off = /** @type {HTMLInputElement | null} */ (help?.querySelector("[data-keys-off]") ?? null);
  if (off) off.checked = localStorage.getItem(KEYS_OFF) === "yes";
  off?.addEventListener("change", () => localStorage.setItem(KEYS_OFF, off.checked ? "yes" : "no"), { signal });
  document.querySelector("[data-help]")?.addEventListener("click", () => help?.showModal(), { signal });
  text.addEventListener("click", (event) => {
    clicked = /** @type {Element} */ (event.target).closest("li[data-start]");
  }, { signal });
  const edit = () => { const row = currentRow(text); if (row) editor.open(row); };
  document.querySelector("[data-edit]")?.addEventListener("click", edit, { signal });
  /** @type {Record<string, () => void>} */
  const plain = {
    " ": () => player?.toggle(), k: () => player?.toggle(),
    j: () => player?.seek(player.media.currentTime - 5), l: () => player?.seek(player.media.currentTime + 5),
    "<": () => player?.change(-1), ">": () => player?.change(1),
    "/": () => find.input.focus(), n: () => step(text, 1), p: () => step(text, -1), e: edit, "?": () => help?.showModal(),
  };
  /** @type {Record<string, () => void>} */
  const held = { s: () => editor.save(), z: () => editor.undo(), Z: () => editor.redo(), y: () => editor.redo() };
  document.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (help?.open || event.altKey || event.defaultPrevented) return;
    const types = target.matches("input, textarea, select, [contenteditable]");
    const isHeld = event.ctrlKey || event.metaKey;
    /** @type {(() => void) | undefined} */
    let action = isHeld ? held[event.key] : plain[event.key.toLowerCase()];
    if (isHeld && types && event.key !== "s") action = undefined;  // the field's own undo
    if (!isHeld && (types || off?.checked)) action = undefined;
    if (event.key === " " && target.matches("button, a, summary, audio, video")) action = undefined;
    if (!isHeld && target.closest(".times") && event.key.startsWith("Arrow")) action = arrow(target, event.key);
    if (!action) return;
    event.preventDefault();
    action();
  }, { signal });
}

/**
 * Up and down from a row's times.
 * @param {HTMLElement} times
 * @param {string} key
 * @returns {(() => void) | undefined}
 */
function arrow(times, key) {
  const row = /** @type {HTMLElement} */ (times.closest("li"));
  if (key === "ArrowDown") return () => focusRow(rowAfter(row));
  return key === "ArrowUp" ? () => focusRow(rowBefore(row)) : undefined;
}

document.addEventListener("shown", start);
start();
