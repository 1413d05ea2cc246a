/** Files from everywhere: chosen, a folder's, dropped anywhere on the page, pasted. */

const MEDIA_ENDINGS = /\.(wav|mp3|m4a|m4b|aac|flac|ogg|oga|opus|webm|mp4|mkv|mov|avi|wma|wmv|amr|aif|aiff|3gp|mts|m2ts|mpg|mpeg|caf|mka|ts)$/i;

/**
 * Whether a file of a folder is worth sending.
 * @param {File} file
 * @returns {boolean}
 */
export function isMedia(file) {
  return /^(audio|video)\//.test(file.type) || MEDIA_ENDINGS.test(file.name);
}

/**
 * All files below a dropped entry.
 * @param {FileSystemEntry} entry
 * @returns {Promise<File[]>}
 */
async function filesBelow(entry) {
  if (entry.isFile) {
    const file = /** @type {FileSystemFileEntry} */ (entry);
    return [await new Promise((resolve, reject) => file.file(resolve, reject))];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const found = [];
  for (;;) {
    // A folder is told in parts, the last one empty.
    const part = /** @type {FileSystemEntry[]} */ (await new Promise((resolve, reject) => reader.readEntries(resolve, reject)));
    if (!part.length) return found;
    for (const one of part) found.push(...await filesBelow(one));
  }
}

/**
 * The files of a drop; those of folders are looked through, others are taken as they are.
 * @param {DataTransfer} transfer
 * @returns {Promise<{files: File[], leftOut: number}>}
 */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.() ?? null);
  const plain = [...transfer.files];
  const folders = entries.filter((entry) => entry?.isDirectory);
  if (!folders.length) return { files: plain, leftOut: 0 };
  const inFolders = (await Promise.all(folders.map((entry) => filesBelow(/** @type {FileSystemEntry} */ (entry))))).flat();
  const names = new Set(folders.map((entry) => entry?.name));
  const media = inFolders.filter(isMedia);
  return {
    files: [...plain.filter((file) => !names.has(file.name)), ...media],
    leftOut: inFolders.length - media.length,
  };
}

/**
 * Take files that are dropped anywhere on the page.
 * @param {HTMLElement} sign is shown while something hangs over the page
 * @param {(files: File[], leftOut: number) => void} take
 */
export function watchDrops(sign, take) {
  let depth = 0;
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  document.addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    sign.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth -= 1;
    sign.hidden = depth > 0 ? sign.hidden : true;
  });
  document.addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  document.addEventListener("drop", async (event) => {
    depth = 0;
    sign.hidden = true;
    if (!event.dataTransfer || !hasFiles(event)) return;
    event.preventDefault();
    const { files, leftOut } = await dropped(event.dataTransfer);
    take(files, leftOut);
  });
}

/**
 * Take files that are pasted.
 * @param {(files: File[], leftOut: number) => void} take
 */
export function watchPastes(take) {
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData?.files ?? []];
    if (!files.length) return;
    event.preventDefault();
    take(files, 0);
  });
}
