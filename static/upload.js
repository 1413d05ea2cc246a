/** The upload page: drop a file, see it go up in percent, then follow its job on the job's own page. */

const form = /** @type {HTMLFormElement} */ (document.querySelector("form[data-upload]"));
const fileInput = /** @type {HTMLInputElement} */ (form.querySelector("input[type=file]"));
const dropZone = /** @type {HTMLElement} */ (form.querySelector("[data-drop]"));
const panel = /** @type {HTMLElement} */ (document.querySelector("[data-progress]"));
const bar = /** @type {HTMLProgressElement} */ (panel.querySelector("progress"));
const phase = /** @type {HTMLElement} */ (panel.querySelector("[data-phase]"));
const measure = /** @type {HTMLElement} */ (panel.querySelector("[data-measure]"));
const failure = /** @type {HTMLElement} */ (document.querySelector("[data-failure]"));

/** @type {XMLHttpRequest | null} */
let request = null;

/**
 * Say what happens now. The phase is announced to screen readers, the measure is not.
 * @param {string} text
 * @param {string} detail
 */
function show(text, detail) {
  if (phase.textContent !== text) phase.textContent = text;
  measure.textContent = detail;
}

/**
 * Show the form or the progress, one at a time.
 * @param {boolean} busy
 */
function setBusy(busy) {
  form.hidden = busy;
  panel.hidden = !busy;
}

/**
 * Show why it failed, and give the form back as it was.
 * @param {string} message
 * @param {string} fix
 */
function fail(message, fix) {
  request = null;
  setBusy(false);
  /** @type {HTMLElement} */ (failure.querySelector("[data-message]")).textContent = message;
  /** @type {HTMLElement} */ (failure.querySelector("[data-fix]")).textContent = fix;
  failure.hidden = false;
  failure.scrollIntoView({ block: "nearest" });
}

/**
 * Progress of the upload itself.
 * @param {ProgressEvent} event
 */
function onProgress(event) {
  if (!event.lengthComputable || event.total === 0) return;
  const percent = Math.floor((event.loaded / event.total) * 100);
  bar.value = percent;
  show("Uploading", `${percent} %`);
}

/** All bytes are sent: the service makes them safe and answers. */
function onSent() {
  bar.removeAttribute("value");
  show("Submitting", "");
}

/**
 * The answer came: go to the job's page, or say what the service said.
 * @param {XMLHttpRequest} answered
 */
function onAnswer(answered) {
  const answer = answered.response ?? {};
  const job = answered.getResponseHeader("Location");
  if (answered.status === 202 && job) {
    location.assign(job);
    return;
  }
  const error = answer.error ?? {};
  fail(error.message ?? `The service answered with status ${answered.status}.`, error.fix ?? "");
}

/** Send the form in the background. */
function send() {
  const sending = new XMLHttpRequest();
  request = sending;
  sending.open("POST", /** @type {string} */ (form.dataset.jobsUrl));
  sending.responseType = "json";
  sending.setRequestHeader("Accept", "application/json");
  sending.upload.addEventListener("progress", onProgress);
  sending.upload.addEventListener("load", onSent);
  sending.addEventListener("load", () => onAnswer(sending));
  sending.addEventListener("error", () => fail("The connection to the service broke.", "Try again."));
  sending.addEventListener("abort", () => setBusy(false));
  failure.hidden = true;
  bar.value = 0;
  show("Uploading", "0 %");
  setBusy(true);
  sending.send(new FormData(form));
}

/**
 * Why this file can't be sent, or an empty text.
 * @param {File | undefined} file
 * @returns {string}
 */
function objection(file) {
  if (!file) return "Choose a file first.";
  if (file.size === 0) return `${file.name} is empty.`;
  if (file.size > Number(form.dataset.maxBytes)) return `${file.name} is larger than this service takes.`;
  return "";
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const objected = objection(fileInput.files?.[0]);
  if (objected) {
    fail(objected, "");
  } else {
    send();
  }
});

panel.querySelector("[data-cancel]")?.addEventListener("click", () => request?.abort());

for (const name of ["dragenter", "dragover"]) {
  dropZone.addEventListener(name, (event) => {
    event.preventDefault();
    dropZone.classList.add("over");
  });
}
for (const name of ["dragleave", "drop"]) {
  dropZone.addEventListener(name, () => dropZone.classList.remove("over"));
}
dropZone.addEventListener("drop", (event) => {
  event.preventDefault();
  const files = event.dataTransfer?.files;
  if (files?.length) fileInput.files = files;
});

// A page that comes back from the browser's history shows the form again.
addEventListener("pageshow", (event) => {
  if (event.persisted) setBusy(false);
});

for (const element of document.querySelectorAll("[data-script-only]")) {
  if (element instanceof HTMLElement) element.hidden = false;
}
