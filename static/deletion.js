/** Deleting that can be undone: the service is asked once the time for that is over, or the page is left. */

import { say, token } from "./words.js";

/** How long there is an Undo, in milliseconds. */
const UNDO_MS = 10_000;

/** Jobs that are about to be deleted by another page. */
const STORE = "transcriber-deleting";

/** Ids of jobs that are shown no more. @type {Set<string>} */
export const pending = new Set();

/** @type {{ids: string[], timer: number} | null} */
let last = null;

const listAddress = () => /** @type {HTMLMetaElement} */ (document.querySelector("meta[name=jobs-url]")).content;

/**
 * Ask the service; also while the page is being left.
 * @param {string[]} ids
 */
async function carryOut(ids) {
  const headers = { Accept: "application/json", "X-CSRF-Token": token() };
  // One that could not be asked for is still there the next time, and can be deleted then.
  await Promise.allSettled(ids.map((id) => (
    fetch(`${listAddress()}/${encodeURIComponent(id)}?purge=true`, { method: "DELETE", keepalive: true, headers }))));
  for (const id of ids) pending.delete(id);
  document.dispatchEvent(new Event("jobs"));
}

/** What still waits is done now. */
function flush() {
  if (!last) return;
  clearTimeout(last.timer);
  carryOut(last.ids);
  last = null;
  document.querySelector(".toast")?.remove();
}

/**
 * @param {string[]} ids
 * @param {string} text
 * @param {() => void} onUndo
 */
export function deleteLater(ids, text, onUndo) {
  flush();
  for (const id of ids) pending.add(id);
  const toast = document.createElement("div");
  const words = document.createElement("span");
  const undo = document.createElement("button");
  toast.className = "toast";
  words.setAttribute("role", "status");
  undo.type = "button";
  undo.textContent = say("undo");
  toast.append(words, undo);
  document.body.append(toast);
  words.textContent = text;
  last = { ids, timer: setTimeout(flush, UNDO_MS) };
  undo.addEventListener("click", () => {
    if (last) clearTimeout(last.timer);
    last = null;
    for (const id of ids) pending.delete(id);
    toast.remove();
    onUndo();
  });
}

/**
 * Leave a job's page for the list, which deletes it there.
 * @param {string} id
 * @param {string} name
 * @returns {boolean} false: this browser can't
 */
export function deleteOnList(id, name) {
  try {
    sessionStorage.setItem(STORE, JSON.stringify({ id, name }));
  } catch {
    return false;
  }
  location.assign(listAddress());
  return true;
}

/** What the page before left to be deleted. @returns {{id: string, name: string} | null} */
export function takeOver() {
  try {
    const left = sessionStorage.getItem(STORE);
    sessionStorage.removeItem(STORE);
    return left ? JSON.parse(left) : null;
  } catch {
    return null;
  }
}

addEventListener("pagehide", flush);
