/** The page of a finished transcript: player, search, corrections and keys, put together. */

import { showChecks } from "./checks.js";
import { copyText, enhanceCopyButtons } from "./copy.js";
import { Editor, focusRow } from "./edit.js";
import { Find } from "./find.js";
import "./menus.js";
import { Player, show } from "./player.js";
import { letterOf, rowAfter, rowBefore, rowsOf, startOf } from "./rows.js";
import { Speakers } from "./speakers.js";
import { recall, remember } from "./storage.js";

const KEYS_OFF = "transcriber-keys-off";
const LOOK = "transcriber-look-";

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
  const bar = section.querySelector("[data-player]");
  const player = bar instanceof HTMLElement ? new Player(section, bar, text, signal) : null;
  openOptions();
  enhanceCopyButtons();
  on(section, "[data-print]", () => print(), signal);
  if (!section.querySelector("[data-find]")) return;
  const editor = new Editor(section, text, again, signal);
  const find = new Find(section, text, editor, signal);
  const box = section.querySelector("[data-speakers]");
  const speakers = box instanceof HTMLElement ? new Speakers(box, text, editor, signal) : null;
  text.addEventListener("saved", (event) => {
    const { rows, checks } = /** @type {CustomEvent} */ (event).detail;
    showChecks(section, rows, checks);
  }, { signal });
  offerSuspects(section, text, signal);
  for (const name of ["paragraphs", "strict"]) offerLook(section, text, name, signal);
  rove(text, signal);
  listen({ player, editor, find, text, speakers }, signal);
  if (player) offerLink(section, player, signal);
  goToAddress(text, find, player);
}

/**
 * @param {HTMLElement} section
 * @param {string} selector
 * @param {(event: Event) => void} action
 * @param {AbortSignal} signal
 */
function on(section, selector, action, signal) {
  section.querySelector(selector)?.addEventListener("click", action, { signal });
}

/** Show the transcript as the server has it now. The recording goes on where it was. */
async function again() {
  const section = /** @type {HTMLElement} */ (document.querySelector("[data-transcript]"));
  const answer = await fetch(/** @type {string} */ (section.dataset.pageUrl), { headers: { Accept: "text/html" }, cache: "no-store" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-transcript]");
  if (!answer.ok || !(fresh instanceof HTMLElement)) throw new Error(`status ${answer.status}`);
  const [place, hadFocus] = [scrollY, section.contains(document.activeElement)];
  const media = /** @type {HTMLMediaElement | null} */ (section.querySelector("[data-media]"));
  const next = /** @type {HTMLMediaElement | null} */ (fresh.querySelector("[data-media]"));
  if (media && next) next.replaceWith(media);
  section.replaceWith(fresh);
  start();
  if (hadFocus) /** @type {HTMLElement} */ (fresh.querySelector("[data-edit]")).focus();
  scrollTo(0, place);
  const state = /** @type {HTMLElement} */ (fresh.querySelector("[data-edit-state]"));
  const words = /** @type {HTMLTemplateElement} */ (fresh.querySelector("[data-words-of-state]")).content;
  state.textContent = words.querySelector("[data-state=merged]")?.textContent ?? "";
  state.hidden = false;
}

/** The form behind "Transcribe again" is folded until it is wanted. */
function openOptions() {
  const options = document.querySelector("details#retry");
  const unfold = () => { if (options instanceof HTMLDetailsElement && location.hash === "#retry") options.open = true; };
  addEventListener("hashchange", unfold, { signal: present.signal });
  unfold();
}

/**
 * Where the address leads to: `?q=` to what was searched for, `#t=` to a moment, which is played where the browser lets it.
 * @param {HTMLElement} text
 * @param {Find} find
 * @param {Player | null} player
 */
async function goToAddress(text, find, player) {
  const wanted = new URLSearchParams(location.search).get("q")?.trim();
  const [, moment] = /^#t=(\d+(?:\.\d+)?)$/.exec(location.hash) ?? [];
  if (moment !== undefined) {
    const row = rowsOf(text).findLast((one) => startOf(one) <= Number(moment) + 0.005);
    if (row) show(row);
    player?.playFrom(Number(moment));
  }
  if (!wanted) return;
  find.input.value = wanted;
  await find.search();
  const place = find.go(1);
  if (place && moment === undefined) player?.seek(startOf(place.row));
}

/**
 * @param {HTMLElement} section
 * @param {Player} player
 * @param {AbortSignal} signal
 */
function offerLink(section, player, signal) {
  const button = /** @type {HTMLElement | null} */ (section.querySelector("[data-link]"));
  button?.addEventListener("click", async () => {
    const address = new URL(/** @type {string} */ (section.dataset.pageUrl), location.href);
    address.hash = `t=${player.media.currentTime.toFixed(1)}`;
    history.replaceState(null, "", address.hash);
    if (await copyText(address.href)) announce(button.dataset.copied ?? "");
  }, { signal });
}

/** @param {string} text */
function announce(text) {
  const place = document.querySelector("[data-announce]");
  if (place) place.textContent = text;
}

/**
 * @param {HTMLElement} section
 * @param {HTMLElement} text
 * @param {AbortSignal} signal
 */
function offerSuspects(section, text, signal) {
  const button = /** @type {HTMLElement} */ (section.querySelector("[data-next-suspect]"));
  button.hidden = !text.querySelector("[data-suspect]");
  button.addEventListener("click", () => step(text, 1), { signal });
}

/**
 * A way to show the text, as it was chosen the last time.
 * @param {HTMLElement} section
 * @param {HTMLElement} text
 * @param {string} name  of the class, and of the button
 * @param {AbortSignal} signal
 */
function offerLook(section, text, name, signal) {
  const button = /** @type {HTMLElement} */ (section.querySelector(`[data-${name}]`));
  const put = (/** @type {boolean} */ on) => {
    text.classList.toggle(name, on);
    button.setAttribute("aria-pressed", String(on));
  };
  put(recall(LOOK + name) === "yes");
  button.addEventListener("click", () => {
    const isOn = !text.classList.contains(name);
    put(isOn);
    remember(LOOK + name, isOn ? "yes" : "no");
  }, { signal });
}

/**
 * One row is in the order of the Tab key, the others are reached with the arrows.
 * @param {HTMLElement} text
 * @param {AbortSignal} signal
 */
function rove(text, signal) {
  let held = /** @type {HTMLElement | null} */ (null);
  const hold = (/** @type {HTMLElement} */ times) => {
    if (held) held.tabIndex = -1;
    held = times;
    held.tabIndex = 0;
  };
  const spread = () => {
    const all = /** @type {HTMLElement[]} */ ([...text.querySelectorAll("a.times")]);
    for (const times of all) if (times !== held && times.tabIndex !== -1) times.tabIndex = -1;
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
  const follows = (/** @type {Node} */ row) => Boolean(at.compareDocumentPosition(row) & Node.DOCUMENT_POSITION_FOLLOWING);
  const precedes = (/** @type {Node} */ row) => Boolean(at.compareDocumentPosition(row) & Node.DOCUMENT_POSITION_PRECEDING);
  const row = by > 0 ? suspects.find(follows) ?? suspects[0] : suspects.findLast(precedes) ?? suspects[suspects.length - 1];
  at.classList.remove("at");
  row.classList.add("at");
  show(row);
  focusRow(row);
}

/**
 * Keys for the whole page.
 * @param {{player: Player | null, editor: Editor, find: Find, text: HTMLElement, speakers: Speakers | null}} parts
 * @param {AbortSignal} signal
 */
function listen({ player, editor, find, text, speakers }, signal) {
  const help = /** @type {HTMLDialogElement | null} */ (document.querySelector("dialog[data-shortcuts]"));
  const off = /** @type {HTMLInputElement | null} */ (help?.querySelector("[data-keys-off]") ?? null);
  if (off) off.checked = recall(KEYS_OFF) === "yes";
  off?.addEventListener("change", () => remember(KEYS_OFF, off.checked ? "yes" : "no"), { signal });
  document.querySelector("[data-help]")?.addEventListener("click", () => help?.showModal(), { signal });
  text.addEventListener("click", (event) => {
    clicked = /** @type {Element} */ (event.target).closest("li[data-start]");
  }, { signal });
  const edit = () => { const row = currentRow(text); if (row) editor.open(row); };
  document.querySelector("[data-edit]")?.addEventListener("click", edit, { signal });
  /** @type {Record<string, () => unknown>} */
  const plain = {
    " ": () => player?.toggle(), k: () => player?.toggle(),
    j: () => player?.seek(player.media.currentTime - 5), l: () => player?.seek(player.media.currentTime + 5),
    r: () => player?.repeat(currentRow(text)), "<": () => player?.change(-1), ">": () => player?.change(1),
    "/": () => find.input.focus(), n: () => step(text, 1), p: () => step(text, -1), e: edit, "?": () => help?.showModal(),
  };
  for (let number = 1; speakers && number <= 9; number += 1) plain[number] = () => speakers.pick(currentRow(text), number);
  /** @type {Record<string, (event: KeyboardEvent) => unknown>} */
  const held = { s: () => editor.save(), z: ({ shiftKey }) => (shiftKey ? editor.redo() : editor.undo()), y: () => editor.redo() };
  document.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (help?.open || event.altKey || event.defaultPrevented) return;
    const types = target.matches("input:not([type=range]), textarea, select, [contenteditable]");
    const isHeld = event.ctrlKey || event.metaKey;
    const key = letterOf(event);
    /** @type {((event: KeyboardEvent) => unknown) | undefined} */
    let action = isHeld ? held[key] : plain[key];
    if (isHeld && types && key !== "s") action = undefined;  // the field's own undo
    if (!isHeld && (types || off?.checked)) action = undefined;
    if (key === " " && target.matches("button, a, summary, audio, video")) action = undefined;
    if (!isHeld && target.closest(".times") && key.startsWith("Arrow")) action = arrow(target, key);
    if (!action) return;
    event.preventDefault();
    action(event);
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
