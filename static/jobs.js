/** Lists of jobs: they keep themselves current row by row, so that ticks and half-typed searches stay; select many, undo. */

import { deleteLater, pending, takeOver } from "./deletion.js";
import { showTimes } from "./times.js";
import { say, token } from "./words.js";

const EVERY_MS = 3000;

/** Jobs in one zip file, as the service takes them. */
const LARGEST_ZIP = 100;

const list = /** @type {HTMLElement} */ (document.querySelector("[data-jobs-list]"));
const selection = /** @type {HTMLFormElement | null} */ (document.querySelector("[data-selection]"));

/** @param {ParentNode} place */
const rowsIn = (place) => /** @type {HTMLTableRowElement[]} */ ([...place.querySelectorAll("tr[data-job]")]);

/** @returns {HTMLInputElement[]} */
const ticks = () => /** @type {HTMLInputElement[]} */ ([...list.querySelectorAll("tbody tr:not([hidden]) .tick input")]);

/**
 * This list as the service has it now.
 * @param {string} address
 */
async function fetchPage(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-jobs-list]");
  if (!answer.ok || !fresh) throw new Error(`status ${answer.status}`);
  return { page, fresh: /** @type {HTMLElement} */ (fresh) };
}

/** Take over what has changed: rows, their order, the numbers of the filters. */
async function refresh() {
  const { page, fresh } = await fetchPage(location.href);
  const body = list.querySelector("[data-rows]");
  if (!body || !fresh.querySelector("[data-rows]")) {
    // From no row to the first one, or back: nothing is ticked or being pressed.
    list.replaceChildren(...fresh.childNodes);
    list.hidden = fresh.hidden;
  } else {
    const known = new Map(rowsIn(list).map((row) => [row.dataset.job, row]));
    const there = rowsIn(fresh);
    /** @type {Element | null} */
    let last = null;
    for (const row of there) {
      const shown = known.get(row.dataset.job) ?? row;
      if (shown !== row) update(shown, row);
      if (last ? last.nextElementSibling !== shown : body.firstElementChild !== shown) {
        if (last) last.after(shown);
        else body.prepend(shown);
      }
      last = shown;
    }
    dropGone(there);
  }
  list.toggleAttribute("data-active", fresh.hasAttribute("data-active"));
  const filters = document.querySelector("[data-filters]");
  const counted = page.querySelector("[data-filters]");
  if (filters && counted && filters.textContent !== counted.textContent && !filters.contains(document.activeElement)) {
    filters.replaceChildren(...counted.childNodes);
  }
  settle();
}

/**
 * @param {HTMLTableRowElement} shown
 * @param {HTMLTableRowElement} fresh
 */
function update(shown, fresh) {
  if (shown.contains(document.activeElement) && document.activeElement?.closest(".tick") === null) return;
  for (const [at, cell] of [...fresh.cells].entries()) {
    const old = shown.cells[at];
    if (!old.matches(".tick") && !isSame(old, cell)) old.replaceWith(cell.cloneNode(true));
  }
  shown.dataset.status = fresh.dataset.status;
}

/**
 * Whether two cells say the same, whatever a script made of a time.
 * @param {HTMLTableCellElement} one
 * @param {HTMLTableCellElement} other
 */
function isSame(one, other) {
  const times = [one, other].map((cell) => cell.querySelector("time")?.dateTime);
  return times[0] ? times[0] === times[1] : one.isEqualNode(other);
}

/** Rows that would stand before the last one of the page, and are not there: somebody deleted them. @param {HTMLTableRowElement[]} there */
function dropGone(there) {
  const names = new Set(there.map(({ dataset }) => dataset.job));
  const all = rowsIn(list);
  const end = all.findLastIndex(({ dataset }) => names.has(dataset.job));
  for (const row of all.slice(0, end)) if (!names.has(row.dataset.job)) row.remove();
}

/** After each change: times, what is being deleted, what is selected. */
function settle() {
  for (const row of rowsIn(list)) row.hidden = pending.has(String(row.dataset.job));
  showTimes();
  showSelection();
}

/** @param {HTMLInputElement} tick */
const isFailed = (tick) => tick.closest("tr")?.dataset.status === "failed";

/**
 * Do to a job what one of its forms would do.
 * @param {string} address
 */
function post(address) {
  return fetch(address, { method: "POST", headers: { Accept: "application/json", "X-CSRF-Token": token() } });
}

/** What can be done with what is ticked. */
function showSelection() {
  if (!selection) return;
  const chosen = ticks().filter(({ checked }) => checked);
  const done = chosen.filter((tick) => tick.closest("tr")?.dataset.status === "succeeded");
  const isFinal = chosen.every((tick) => !["queued", "running"].includes(tick.closest("tr")?.dataset.status ?? ""));
  const part = (/** @type {string} */ name) => /** @type {HTMLButtonElement} */ (selection.querySelector(`[data-${name}]`));
  selection.hidden = chosen.length === 0;
  selection.classList.add("live");
  part("selected-count").textContent = say("selected", { count: chosen.length });
  part("compare").disabled = !(chosen.length === 2 && done.length === 2);
  part("zip").disabled = !done.length || done.length !== chosen.length || done.length > LARGEST_ZIP;
  part("retry-selected").hidden = !chosen.some(isFailed);
  part("delete-selected").disabled = !isFinal;
  const all = /** @type {HTMLInputElement | null} */ (list.querySelector("[data-select-all]"));
  if (!all) return;
  all.checked = chosen.length > 0 && chosen.length === ticks().length;
  all.indeterminate = chosen.length > 0 && !all.checked;
}

/** @param {string[]} ids */
function removeRows(ids) {
  const rows = rowsIn(list).filter(({ dataset }) => ids.includes(String(dataset.job)));
  const hadFocus = rows.some((row) => row.contains(document.activeElement));
  const name = rows.length === 1 ? rows[0].dataset.name ?? "" : "";
  for (const row of rows) for (const tick of row.querySelectorAll("input")) tick.checked = false;
  deleteLater(ids, name ? say("deleted_named", { name }) : say("deleted", { count: ids.length }), settle);
  settle();
  // Who deleted with the keyboard goes on from the next row.
  if (hadFocus) /** @type {HTMLElement | null} */ (list.querySelector("tr[data-job]:not([hidden]) .file-name"))?.focus();
}

list.addEventListener("change", (event) => {
  const target = /** @type {HTMLInputElement} */ (event.target);
  if (target.matches("[data-select-all]")) for (const tick of ticks()) tick.checked = target.checked;
  showSelection();
});

list.addEventListener("submit", (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (form.dataset.delete) {
    event.preventDefault();
    removeRows([form.dataset.delete]);
  } else if (/\/(cancel|retry)$/.test(form.action)) {
    event.preventDefault();
    // The list stays where it is, with all that is ticked.
    post(form.action).then(refresh).catch(() => form.submit());
  }
});

selection?.querySelector("[data-delete-selected]")?.addEventListener("click", () => {
  removeRows(ticks().filter(({ checked }) => checked).map(({ value }) => value));
});
selection?.querySelector("[data-retry-selected]")?.addEventListener("click", async () => {
  const failed = ticks().filter((tick) => tick.checked && isFailed(tick));
  await Promise.allSettled(failed.map((tick) => {
    const form = /** @type {HTMLFormElement | null} */ (tick.closest("tr")?.querySelector("form[action$=retry]") ?? null);
    return form ? post(form.action) : null;
  }));
  for (const tick of failed) tick.checked = false;
  await refresh();
});
selection?.querySelector("[data-select-none]")?.addEventListener("click", () => {
  for (const tick of ticks()) tick.checked = false;
  showSelection();
});

/** Older jobs come when the end of the list is near. */
async function older() {
  const place = document.querySelector("[data-older]");
  const link = /** @type {HTMLAnchorElement | null} */ (place?.querySelector("a[rel=next]") ?? null);
  if (!place || !link) return;
  const { page, fresh } = await fetchPage(link.href);
  list.querySelector("[data-rows]")?.append(...rowsIn(fresh).filter(({ dataset }) => !list.querySelector(`[data-job="${dataset.job}"]`)));
  place.replaceChildren(...page.querySelector("[data-older]")?.childNodes ?? []);
  settle();
  watch();
}

const near = new IntersectionObserver((entries) => {
  if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
  near.disconnect();
  older().catch(() => {});  // the link is still there
}, { rootMargin: "400px" });

/** Only who scrolls gets more than the first page. */
function watch() {
  const link = document.querySelector("[data-older] a[rel=next]");
  if (link) near.observe(link);
}

for (const element of document.querySelectorAll("main [data-script-only]")) element.removeAttribute("hidden");
settle();
addEventListener("scroll", watch, { once: true, passive: true });
document.addEventListener("jobs", () => { refresh().catch(() => {}); });
setInterval(() => {
  if (document.hidden || !list.hasAttribute("data-active")) return;
  refresh().catch(() => {});  // the next time will tell
}, EVERY_MS);
const left = takeOver();
if (left) {
  deleteLater([left.id], say("deleted_named", { name: left.name }), settle);
  settle();
}
