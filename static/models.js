// The models of the diagnostics page: while one is loaded or fetched, its row follows it.
const EVERY_MS = 1000;
const BUSY = new Set(["loading", "downloading"]);

const section = () => document.querySelector("[data-models]");

/** @type {(within: Element) => HTMLElement[]} */
const rowsIn = (within) => [...within.querySelectorAll("[data-model]")].filter((row) => row instanceof HTMLElement);

function isBusy() {
  const shown = section();
  return shown !== null && rowsIn(shown).some((row) => BUSY.has(row.dataset.state ?? ""));
}

// The server's own words for it: the section is taken from a fresh page, unless somebody is in it.
async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.redirected) return location.reload(); // signed out meanwhile
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-models]");
  const shown = section();
  if (!(fresh instanceof HTMLDetailsElement) || !(shown instanceof HTMLDetailsElement)) return;
  if (shown.contains(document.activeElement)) return;
  fresh.open = shown.open;
  shown.replaceWith(document.adoptNode(fresh));
  document.dispatchEvent(new Event("shown"));
}

async function follow() {
  if (!isBusy()) return;
  try {
    if (!document.hidden) await refresh();
  } catch {
    // The service is away for a moment: the next round asks again.
  }
  setTimeout(follow, EVERY_MS);
}

setTimeout(follow, EVERY_MS);
