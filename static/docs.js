/** The API page: Swagger UI over our own document, with what it leaves out for keyboards and screen readers. */

import { token } from "./words.js";

const place = /** @type {HTMLElement} */ (document.querySelector("[data-document]"));

// Its own dark colours, by the system's wish as everywhere else.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
follow();
dark.addEventListener("change", follow);

/**
 * A layout of its parts for a page that has a heading and a main landmark already: its own would be second ones.
 * @param {{React: any}} system
 */
function layout({ React }) {
  const h = React.createElement;
  /** @param {{getComponent: (name: string, isConnected?: boolean) => any, specSelectors: any}} props */
  const OnOurPage = ({ getComponent, specSelectors }) => {
    if (specSelectors.loadingStatus() !== "success") return null;
    const parts = ["AuthorizeBtnContainer", "operations", "Models"].map((name) => h(getComponent(name, true), { key: name }));
    return h("div", { className: "swagger-ui" }, h(getComponent("SvgAssets")), parts);
  };
  return { components: { OnOurPage } };
}

/** Its headings, and the levels that make an order of them. */
const LEVELS = [[".opblock-tag", "2"], [".opblock-title", "3"], [".models > h4", "2"]];

/** Names, levels and a place in the order of the Tab key, for what has none. */
function complete() {
  for (const [selector, level] of LEVELS) {
    for (const heading of place.querySelectorAll(`${selector}:not([aria-level])`)) heading.setAttribute("aria-level", level);
  }
  for (const code of place.querySelectorAll("pre.microlight:not([tabindex])")) code.setAttribute("tabindex", "0");
}

new MutationObserver(complete).observe(place, { childList: true, subtree: true });

// @ts-ignore  the bundle defines this name
SwaggerUIBundle({
  url: place.dataset.document,
  domNode: place,
  deepLinking: false,
  validatorUrl: null,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: false,
  plugins: [layout],
  layout: "OnOurPage",
  requestInterceptor: (/** @type {{headers: Record<string, string>}} */ request) => {
    if (token()) request.headers["X-CSRF-Token"] = token();
    return request;
  },
});
