/** Sends one file by the tus protocol: in pieces, and on from where it was cut off, also after a reload. */

import { explain, token } from "./words.js";

const VERSION = "1.0.0";

/** What one request sends. A proxy that holds bodies back until they are whole loses no more than this. */
const PIECE_BYTES = 16 * 1024 * 1024;

/** A connection that moves nothing for so long is given up, in milliseconds. */
const STALL_MS = 30_000;

/** The wait before the first new try, and the longest, in milliseconds. */
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

const STORE = "transcriber-uploads";

/** An upload that was begun longer ago begins anew, in milliseconds. */
const KEPT_MS = 7 * 24 * 3600 * 1000;

/** The service said no, and would say so again. */
export class Refused extends Error {
  /**
   * @param {number} status
   * @param {{message?: string, fix?: string, code?: string}} error
   */
  constructor(status, error) {
    const { message, fix } = explain(error);
    super(message);
    this.status = status;
    this.fix = fix;
    this.code = error.code ?? "";
  }
}

/** The upload was cancelled. */
export class Cancelled extends Error {}

/** The connection broke, or the service is not itself: another try may work. */
class Broken extends Error {}

/**
 * Uploads that this browser has begun of late: address by file. The service forgets, too.
 * @returns {Record<string, {address: string, at: number}>}
 */
function known() {
  try {
    const all = Object.entries(JSON.parse(localStorage.getItem(STORE) ?? "{}"));
    return Object.fromEntries(all.filter(([, one]) => one.at > Date.now() - KEPT_MS));
  } catch {
    return {};
  }
}

/**
 * Note a file's address, or forget it.
 * @param {string} file
 * @param {string | null} address
 */
function note(file, address) {
  const all = known();
  delete all[file];
  if (address) all[file] = { address, at: Date.now() };
  try {
    localStorage.setItem(STORE, JSON.stringify(all));
  } catch {
    // Without a store there is no going on after a reload, and that is all.
  }
}

/** Whether files wait to be chosen again. */
export function hasUnfinished() {
  return Object.keys(known()).length > 0;
}

/**
 * A file's name as the protocol's metadata wants it.
 * @param {string} text
 * @returns {string}
 */
function base64(text) {
  return btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""));
}

/** One file on its way. */
export class Upload {
  /**
   * @param {File} file
   * @param {string} url where uploads are created
   * @param {{onProgress: (sent: number) => void, onLost: () => void, onResume: () => void}} watcher
   */
  constructor(file, url, watcher) {
    this.file = file;
    this.url = url;
    this.watcher = watcher;
    this.key = [file.name, file.size, file.lastModified, file.type].join("\n");
    this.address = known()[this.key]?.address ?? "";
    this.isCancelled = false;
    /** @type {XMLHttpRequest | null} */
    this.request = null;
    /** @type {(() => void) | null} */
    this.wake = null;
  }

  /** The id that the service knows it by. */
  get id() {
    return this.address.split("/").pop() ?? "";
  }

  /**
   * Send it, through every break.
   * @returns {Promise<string>} its id, once it is there as a whole
   */
  async send() {
    let offset = this.address ? -1 : 0;
    if (this.address) this.watcher.onResume();
    for (;;) {
      try {
        if (!this.address) {
          this.address = await this.create();
          note(this.key, this.address);
          offset = 0;
        }
        if (offset < 0) offset = await this.ask();
        while (this.address && offset < this.file.size) offset = await this.patch(offset);
        if (this.address) return this.id;
      } catch (error) {
        if (!(error instanceof Broken)) throw error;
        this.watcher.onLost();
        offset = -1;
        await this.pause();
      }
    }
  }

  /** It is a job now, or nobody wants it: the browser forgets it. */
  forget() {
    note(this.key, null);
  }

  /** Stop, and have the service forget what it has. */
  cancel() {
    this.isCancelled = true;
    this.request?.abort();
    this.wake?.();
    if (this.address) {
      fetch(this.address, { method: "DELETE", headers: this.headers() }).catch(() => {});
    }
    this.forget();
  }

  /** @returns {Promise<string>} */
  async create() {
    const done = await this.open("POST", this.url, {
      "Upload-Length": String(this.file.size),
      "Upload-Metadata": `filename ${base64(this.file.name)}`,
    });
    return done.getResponseHeader("Location") ?? "";
  }

  /**
   * How much is there.
   * @returns {Promise<number>} -1 when there is nothing any more
   */
  async ask() {
    try {
      const done = await this.open("HEAD", this.address, {});
      return Number(done.getResponseHeader("Upload-Offset"));
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 404) throw error;
      this.address = "";
      return -1;
    }
  }

  /**
   * @param {number} offset
   * @returns {Promise<number>} the new offset
   */
  async patch(offset) {
    const piece = this.file.slice(offset, offset + PIECE_BYTES);
    const headers = { "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" };
    const done = await this.open("PATCH", this.address, headers, piece, offset);
    this.tries = 0;
    return Number(done.getResponseHeader("Upload-Offset"));
  }

  /**
   * One request.
   * @param {string} method
   * @param {string} address
   * @param {Record<string, string>} headers
   * @param {Blob} [body]
   * @param {number} [offset]
   * @returns {Promise<XMLHttpRequest>}
   */
  open(method, address, headers, body, offset = 0) {
    if (this.isCancelled) return Promise.reject(new Cancelled());
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      this.request = request;
      let stall = 0;
      const alive = () => {
        clearTimeout(stall);
        stall = setTimeout(() => request.abort(), STALL_MS);
      };
      request.open(method, address);
      for (const [name, value] of Object.entries({ ...this.headers(), ...headers })) {
        request.setRequestHeader(name, value);
      }
      request.upload.addEventListener("progress", (event) => {
        alive();
        this.watcher.onProgress(offset + event.loaded);
      });
      request.addEventListener("loadend", () => {
        clearTimeout(stall);
        if (this.isCancelled) reject(new Cancelled());
        else if (request.status >= 200 && request.status < 300) resolve(request);
        else reject(failure(request));
      });
      alive();
      request.send(body ?? null);
    });
  }

  /** @returns {Record<string, string>} */
  headers() {
    const headers = { "Tus-Resumable": VERSION, Accept: "application/json" };
    return token() ? { ...headers, "X-CSRF-Token": token() } : headers;
  }

  /** Wait a while, or until the network is back. */
  async pause() {
    this.tries = (this.tries ?? 0) + 1;
    const wait = Math.min(FIRST_WAIT_MS * 2 ** (this.tries - 1), LONGEST_WAIT_MS);
    await /** @type {Promise<void>} */ (new Promise((resolve) => {
      const timer = setTimeout(resolve, wait);
      this.wake = () => { clearTimeout(timer); resolve(); };
      addEventListener("online", this.wake, { once: true });
    }));
    if (this.wake) removeEventListener("online", this.wake);
    this.wake = null;
  }
}

/**
 * What a request that did not end well means.
 * @param {XMLHttpRequest} request
 * @returns {Error}
 */
function failure(request) {
  const { status } = request;
  // 409: another connection was faster, or an old one hangs. The offset tells.
  const isPassing = status === 0 || status === 408 || status === 409 || (status >= 500 && status !== 507);
  if (isPassing) return new Broken();
  try {
    return new Refused(status, JSON.parse(request.responseText).error ?? {});
  } catch {
    return new Refused(status, {});
  }
}
