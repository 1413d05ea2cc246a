/** The upload page: takes files from everywhere, sends them through every break, and leads to their jobs. */

import { isMedia, watchDrops, watchPastes } from "./files.js";
import { assemble, hold, left, remove } from "./recordings.js";
import { Row } from "./tray.js";
import { Cancelled, hasUnfinished, Refused, Upload } from "./tus.js";
import { announce, language, say, size, token } from "./words.js";

/** Files that go up at the same time. */
const AT_ONCE = 2;

/** Before the submission of a file that is there is tried again, in milliseconds. */
const AGAIN_MS = 2000;

/**
 * @param {ParentNode} parent
 * @param {string} selector
 * @returns {HTMLElement}
 */
const find = (parent, selector) => /** @type {HTMLElement} */ (parent.querySelector(selector));

const form = /** @type {HTMLFormElement} */ (find(document, "form[data-upload]"));
const fileInput = /** @type {HTMLInputElement} */ (find(form, "input[type=file]"));
const folderInput = /** @type {HTMLInputElement} */ (find(form, "[data-folder]"));
const recordButton = /** @type {HTMLButtonElement} */ (find(form, "[data-record]"));
const failure = find(form, "[data-failure]");
const list = find(form, "[data-tray]");
const maxBytes = Number(form.dataset.maxBytes);

/** @type {Set<Row>} */
const rows = new Set();

/** @type {WeakMap<File, string>} the recordings that files are made of */
const recordings = new WeakMap();

/** @type {{row: Row, options: URLSearchParams}[]} */
const line = [];
let sending = 0;

/**
 * Show what is wrong with what was just done.
 * @param {string} message
 * @param {string} fix
 */
function complain(message, fix = "") {
  find(failure, "[data-message]").textContent = message;
  find(failure, "[data-fix]").textContent = fix;
  failure.hidden = !message;
  if (message) failure.scrollIntoView({ block: "nearest" });
}

/**
 * Why this file can't be sent, or an empty text.
 * @param {File} file
 * @returns {string}
 */
function objection(file) {
  if (file.size === 0) return say("is_empty", { name: file.name });
  if (file.size <= maxBytes) return "";
  return say("is_too_large", { name: file.name, size: size(file.size), limit: size(maxBytes) });
}

/**
 * Put files on the list.
 * @param {File[]} files
 * @param {number} leftOut
 */
function take(files, leftOut = 0) {
  complain(leftOut ? say("left_out", { count: leftOut }) : "");
  for (const file of files) {
    const row = new Row(/** @type {HTMLTemplateElement} */ (find(form, "[data-row]")), file);
    const objected = objection(file);
    if (objected) row.show("refused", objected);
    announce(objected || say("added", { name: file.name }));
    row.remove.addEventListener("click", () => drop(row));
    row.retry.addEventListener("click", () => enqueue(row));
    rows.add(row);
    list.append(row.element);
  }
  showList();
}

/**
 * Take a file off the list.
 * @param {Row} row
 */
function drop(row) {
  const next = [...rows].find((one) => one !== row);
  forgetRecording(row.file);
  rows.delete(row);
  row.element.remove();
  showList();
  if (next) next.focus();
  else fileInput.focus();
}

/** The list is there when something is on it. What is chosen there need not be chosen again. */
function showList() {
  find(form, "[data-tray-section]").hidden = rows.size === 0;
}

/** @param {File} file */
async function forgetRecording(file) {
  const id = recordings.get(file);
  if (id) await remove(id).catch(() => {});
}

/** The form's options as they are now. */
function options() {
  const fields = [...new FormData(form)].filter(([name, value]) => typeof value === "string" && name !== "csrf_token" && name !== "url");
  return new URLSearchParams(/** @type {[string, string][]} */ (fields));
}

/** @param {Row} row */
function enqueue(row) {
  row.show("waiting", say("waiting"));
  row.bar.removeAttribute("value");
  const waiting = { row, options: options() };
  row.cancel.onclick = () => {
    const place = line.indexOf(waiting);
    if (place >= 0) line.splice(place, 1);
    row.show("cancelled", say("cancelled"));
  };
  line.push(waiting);
  sendNext();
}

/** Send as many as may go up at once. */
function sendNext() {
  while (sending < AT_ONCE && line.length) {
    const { row, options: chosen } = /** @type {{row: Row, options: URLSearchParams}} */ (line.shift());
    sending += 1;
    send(row, chosen).finally(() => {
      sending -= 1;
      sendNext();
    });
  }
}

/**
 * Send one file and make it a job.
 * @param {Row} row
 * @param {URLSearchParams} chosen
 */
async function send(row, chosen) {
  const isAlone = [...rows].filter((one) => one.state !== "refused").length === 1;
  const upload = new Upload(row.file, /** @type {string} */ (form.dataset.uploadsUrl), {
    onProgress: (sent) => row.progress(sent),
    onLost: () => { row.restart(); row.detail.textContent = say("lost"); announce(say("lost")); },
    onResume: () => { row.detail.textContent = say("resumes"); },
  });
  row.cancel.onclick = () => upload.cancel();
  row.show("sending", "");
  row.restart();
  row.progress(0);
  try {
    chosen.set("upload", await upload.send());
    row.bar.removeAttribute("value");
    row.detail.textContent = say("submitting");
    const job = await submit(chosen, upload);
    upload.forget();
    // Before the page is left: else the recording would be offered again as one that was not sent.
    await forgetRecording(row.file);
    row.link.href = job;
    row.show("sent", say("sent"));
    announce(say("sent_named", { name: row.file.name }));
    if (isAlone) location.assign(job);
  } catch (error) {
    fail(row, error);
  }
}

/**
 * Make a job of a file that is there. The key makes one job of it, however often it is asked for.
 * @param {URLSearchParams} chosen
 * @param {Upload} upload
 * @returns {Promise<string>} the job's address
 */
async function submit(chosen, upload) {
  for (;;) {
    if (upload.isCancelled) throw new Cancelled();
    const headers = { Accept: "application/json", "Idempotency-Key": upload.id, "X-CSRF-Token": token() };
    const answer = await fetch(/** @type {string} */ (form.dataset.jobsUrl), { method: "POST", headers, body: chosen })
      .catch(() => null);
    if (answer?.status === 202) return answer.headers.get("Location") ?? "";
    const isPassing = !answer || (answer.status >= 500 && answer.status !== 507);
    if (!isPassing) throw new Refused(answer.status, (await answer.json().catch(() => ({}))).error ?? {});
    await new Promise((resolve) => { setTimeout(resolve, AGAIN_MS); });
  }
}

/**
 * @param {Row} row
 * @param {unknown} error
 */
function fail(row, error) {
  if (error instanceof Cancelled) {
    row.show("cancelled", say("cancelled"));
    announce(say("cancelled"));
    return;
  }
  if (!(error instanceof Refused)) throw error;
  const message = error.status === 401 ? say("sign_in_again") : error.message || say("status", { status: error.status });
  row.show("failed", message);
  complain(message, error.status === 401 ? "" : error.fix);
  if (error.status === 401) offerSignIn();
}

/** A link to the sign-in page, and back here. */
function offerSignIn() {
  const link = document.createElement("a");
  link.href = `${form.dataset.signInUrl}?next=${encodeURIComponent(location.pathname)}`;
  link.textContent = link.href;
  find(failure, "[data-fix]").replaceChildren(link);
}

/** Record, with a script that only those load who do. */
async function record() {
  if (!navigator.mediaDevices?.getUserMedia) {
    complain(say("needs_https"));
    return;
  }
  recordButton.disabled = true;
  const { Recorder } = await import(/** @type {string} */ (form.dataset.recorderUrl));
  const recorder = new Recorder(
    find(form, "[data-recorder]"),
    (/** @type {File} */ file, /** @type {string} */ id) => { recordings.set(file, id); take([file]); },
    () => { recordButton.disabled = false; recordButton.focus(); },
  );
  try {
    complain("");
    await recorder.start();
  } catch (error) {
    recordButton.disabled = false;
    complain(say("no_microphone", { reason: error instanceof Error ? error.message : String(error) }));
  }
}

/** Offer recordings whose tab was closed. */
async function recover() {
  const found = await left().catch(() => []);
  if (!found.length) return;
  const { began, clock, recordingName } = await import(/** @type {string} */ (form.dataset.recorderUrl));
  const place = find(form, "[data-recovered]");
  for (const recording of found) {
    const copy = /** @type {DocumentFragment} */ (/** @type {HTMLTemplateElement} */ (find(form, "[data-recovery]")).content.cloneNode(true));
    const banner = /** @type {HTMLElement} */ (copy.firstElementChild);
    const told = say("recovered", { length: clock(recording.seconds), date: began(recording.startedAt) });
    find(banner, "[data-what]").textContent = `${told} ${say("recovering")}`;
    find(banner, "[data-keep]").onclick = async () => {
      hold(recording.id);
      const file = await assemble(recording, recordingName(recording.startedAt));
      recordings.set(file, recording.id);
      take([file]);
      banner.remove();
    };
    find(banner, "[data-drop-it]").onclick = () => { remove(recording.id); banner.remove(); fileInput.focus(); };
    place.append(banner);
  }
  place.hidden = false;
}

/** Names of spoken languages in the language of the page. */
function nameLanguages() {
  if (language === "en") return;
  const names = new Intl.DisplayNames([language], { type: "language", fallback: "none" });
  const select = /** @type {HTMLSelectElement} */ (form.elements.namedItem("language"));
  const [detect, ...known] = select.options;
  for (const option of known) option.text = names.of(option.value) ?? option.text;
  known.sort((one, other) => one.text.localeCompare(other.text, language));
  select.replaceChildren(detect, ...known);
}

/** Files of an input, which is then empty again, so that the same file can be chosen once more. */
function takeFrom(/** @type {HTMLInputElement} */ input) {
  const files = [...input.files ?? []];
  input.value = "";
  return files;
}

form.noValidate = true;
fileInput.multiple = true;
find(form, ".choose").classList.add("scripted");
for (const element of document.querySelectorAll("[data-script-only]")) element.removeAttribute("hidden");
for (const element of document.querySelectorAll("[data-plain]")) element.setAttribute("hidden", "");
nameLanguages();

/**
 * Whether the form is sent as it is, to have the file behind its link fetched.
 * @param {SubmitEvent} event
 * @param {boolean} hasFiles
 * @returns {boolean}
 */
function fetches(event, hasFiles) {
  const link = /** @type {HTMLInputElement} */ (find(form, "input[name=url]"));
  const isAsked = event.submitter?.hasAttribute("data-by-url") ?? false;
  // Enter in the field of the link presses the form's first button.
  if (!isAsked && (hasFiles || !link.value.trim())) return false;
  link.required = true;
  const isRight = link.reportValidity();
  link.required = false;
  if (isRight && !isAsked) {
    event.preventDefault();
    form.requestSubmit(/** @type {HTMLElement} */ (find(form, "[data-by-url]")));
  } else if (!isRight) {
    event.preventDefault();
  }
  return true;
}

form.addEventListener("submit", (event) => {
  const chosen = [...rows].filter((row) => row.state === "chosen");
  if (fetches(event, chosen.length > 0)) return;
  event.preventDefault();
  const isIdle = !chosen.length && !sending;
  if (isIdle) fileInput.focus();
  complain(isIdle ? say("choose_first") : "");
  for (const row of chosen) enqueue(row);
});
fileInput.addEventListener("change", () => take(takeFrom(fileInput)));
// Not every browser opens the dialog of a file input with Enter: some submit the form.
fileInput.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  fileInput.click();
});
// The whole frame is a place to click; what is in it already has its own meaning.
find(form, "[data-drop]").addEventListener("click", (event) => {
  if (!getSelection()?.isCollapsed) return; // the end of a selection, not a click
  if (event.target instanceof Element && !event.target.closest("label, button, input")) fileInput.click();
});
find(form, "[data-choose-folder]").addEventListener("click", () => folderInput.click());
folderInput.addEventListener("change", () => {
  const all = takeFrom(folderInput);
  const media = all.filter(isMedia);
  take(media, all.length - media.length);
  if (!media.length) complain(say("folder_empty"));
});
recordButton.addEventListener("click", record);
watchDrops(find(document, "[data-dropping]"), take);
watchPastes(take);
addEventListener("beforeunload", (event) => {
  if ([...rows].some((row) => row.state === "sending")) event.preventDefault();
});

// Chosen before this script was there.
if (fileInput.files?.length) take(takeFrom(fileInput));
find(form, "[data-unfinished]").hidden = !hasUnfinished();
recover();
performance.mark("scripted");
