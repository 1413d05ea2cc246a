/** Recordings as they grow, kept in the browser's own database until they are sent: a tab may close at any time. */

const DATABASE = "transcriber";
const LOCK = "transcriber-recording-";

/**
 * A recording: its id, when it began (milliseconds), its media type and how long it is so far.
 * @typedef {{id: string, startedAt: number, type: string, seconds: number}} Recording
 */

/** @type {Promise<IDBDatabase> | null} */
let opened = null;

/** @returns {Promise<IDBDatabase>} */
function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("recordings", { keyPath: "id" });
      request.result.createObjectStore("parts", { autoIncrement: true }).createIndex("recording", "recording");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/**
 * Do something in one transaction, which is on disk at the end.
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {(recordings: IDBObjectStore, parts: IDBObjectStore) => IDBRequest<T> | void} work
 * @returns {Promise<T | undefined>}
 */
async function transact(mode, work) {
  const transaction = (await database()).transaction(["recordings", "parts"], mode);
  const request = work(transaction.objectStore("recordings"), transaction.objectStore("parts"));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request ? request.result : undefined);
    transaction.onabort = () => reject(transaction.error);
  });
}

/**
 * Keep the next part of a recording.
 * @param {Recording} recording
 * @param {Blob} part
 */
export async function append(recording, part) {
  await transact("readwrite", (recordings, parts) => {
    recordings.put(recording);
    parts.add({ recording: recording.id, part });
  });
}

/**
 * A recording as one file.
 * @param {Recording} recording
 * @param {string} name without ending
 * @returns {Promise<File>}
 */
export async function assemble(recording, name) {
  const found = await transact("readonly", (_, parts) => parts.index("recording").getAll(recording.id));
  const ending = recording.type.includes("mp4") ? "m4a" : recording.type.includes("ogg") ? "ogg" : "webm";
  const blobs = (found ?? []).map((/** @type {{part: Blob}} */ one) => one.part);
  return new File(blobs, `${name}.${ending}`, { type: recording.type, lastModified: recording.startedAt });
}

/**
 * Delete a recording.
 * @param {string} id
 */
export async function remove(id) {
  await transact("readwrite", (recordings, parts) => {
    recordings.delete(id);
    const cursor = parts.index("recording").openKeyCursor(id);
    cursor.onsuccess = () => {
      if (!cursor.result) return;
      parts.delete(cursor.result.primaryKey);
      cursor.result.continue();
    };
  });
}

/**
 * Recordings that nobody works on: their tab was closed before they were sent.
 * @returns {Promise<Recording[]>}
 */
export async function left() {
  const known = (await indexedDB.databases?.()) ?? [];
  if (!known.some(({ name }) => name === DATABASE)) return [];
  const all = (await transact("readonly", (recordings) => recordings.getAll())) ?? [];
  const held = new Set((await navigator.locks.query()).held?.map((lock) => lock.name));
  return all.filter((one) => !held.has(LOCK + one.id));
}

/**
 * Hold a recording for as long as this page is open, so that no other tab offers it.
 * @param {string} id
 */
export function hold(id) {
  navigator.locks.request(LOCK + id, () => new Promise(() => {}));
}
