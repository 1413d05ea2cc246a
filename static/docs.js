/** The API page: Swagger UI over our own document. */

import { token } from "./words.js";

const place = /** @type {HTMLElement} */ (document.querySelector("[data-document]"));

// Its own dark colours, by the system's wish as everywhere else.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
follow();
dark.addEventListener("change", follow);

// @ts-ignore  the bundle defines this name
SwaggerUIBundle({
  url: place.dataset.document,
  domNode: place,
  deepLinking: false,
  validatorUrl: null,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: false,
  requestInterceptor: (/** @type {{headers: Record<string, string>}} */ request) => {
    if (token()) request.headers["X-CSRF-Token"] = token();
    return request;
  },
});
