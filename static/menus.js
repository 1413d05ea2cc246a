/** Menus made of details elements: one open at a time, shut by Escape, by a choice, or by a click elsewhere. */

const MENUS = "details.menu[open]";

/** @param {Element | null} but  stays open */
function shutOthers(but) {
  for (const menu of /** @type {NodeListOf<HTMLDetailsElement>} */ (document.querySelectorAll(MENUS))) {
    if (menu !== but) menu.open = false;
  }
}

document.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  const menu = target.closest("details.menu");
  shutOthers(menu);
  if (menu instanceof HTMLDetailsElement && target.closest(".items > :is(a, button)")) menu.open = false;
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented) return;
  const menu = document.querySelector(MENUS);
  if (!(menu instanceof HTMLDetailsElement)) return;
  menu.open = false;
  /** @type {HTMLElement} */ (menu.querySelector("summary")).focus();
  event.preventDefault();
});
