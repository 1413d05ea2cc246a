/** Records from the microphone: level, pause, and every second kept in the browser's database. */

import { append, assemble, hold, remove } from "./recordings.js";
import { announce, language, say } from "./words.js";

/** How often what was recorded is kept, in milliseconds. */
const PART_MS = 1000;

const TYPES = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4", "audio/webm"];

/**
 * A recording's name by when it began.
 * @param {number} startedAt
 * @returns {string}
 */
export function recordingName(startedAt) {
  const date = new Date(startedAt);
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return say("recording_name", { date: `${day} ${two(date.getHours())}.${two(date.getMinutes())}` });
}

/**
 * Minutes and seconds.
 * @param {number} seconds
 * @returns {string}
 */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** One recording, shown in the panel. */
export class Recorder {
  /**
   * @param {HTMLElement} panel
   * @param {(file: File, id: string) => void} onFile
   * @param {() => void} onEnd
   */
  constructor(panel, onFile, onEnd) {
    this.panel = panel;
    this.onFile = onFile;
    this.onEnd = onEnd;
    this.state = this.part("[data-recording-state]");
    this.time = this.part("[data-recording-time]");
    this.level = /** @type {HTMLMeterElement} */ (this.part("[data-level]"));
    this.pauseButton = this.part("[data-pause]");
    this.pauseButton.onclick = () => this.togglePause();
    this.part("[data-stop]").onclick = () => this.stop();
    this.part("[data-discard]").onclick = () => this.discard();
    this.isKept = true;
    this.recorded = 0;
    this.since = 0;
    /** @type {Promise<void>} */
    this.written = Promise.resolve();
  }

  /**
   * @param {string} selector
   * @returns {HTMLElement}
   */
  part(selector) {
    return /** @type {HTMLElement} */ (this.panel.querySelector(selector));
  }

  /** Ask for the microphone and begin. Rejected when there is none, or it is refused. */
  async start() {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const type = TYPES.find((one) => MediaRecorder.isTypeSupported(one)) ?? "";
    this.stream = stream;
    this.media = new MediaRecorder(stream, type ? { mimeType: type } : {});
    const id = crypto.randomUUID();
    this.recording = { id, startedAt: Date.now(), type: this.media.mimeType, seconds: 0 };
    hold(id);
    this.media.ondataavailable = ({ data }) => { this.written = this.written.then(() => this.keep(data)); };
    this.media.onstop = () => this.end();
    this.listen(stream);
    this.media.start(PART_MS);
    this.since = performance.now();
    this.panel.hidden = false;
    this.show("recording");
    this.pauseButton.focus();
    this.draw();
  }

  /** Seconds so far, without the pauses. */
  get seconds() {
    const now = this.media?.state === "recording" ? performance.now() - this.since : 0;
    return (this.recorded + now) / 1000;
  }

  /** @param {Blob} data */
  async keep(data) {
    if (!this.recording || !data.size || !this.isKept) return;
    this.recording.seconds = this.seconds;
    await append(this.recording, data);
  }

  togglePause() {
    if (this.media?.state === "recording") {
      this.recorded += performance.now() - this.since;
      this.media.pause();
      this.show("paused");
    } else {
      this.media?.resume();
      this.since = performance.now();
      this.show("recording");
    }
  }

  stop() {
    if (this.media?.state === "recording") this.recorded += performance.now() - this.since;
    this.media?.stop();
  }

  discard() {
    this.isKept = false;
    this.stop();
  }

  /** The last part is there. */
  async end() {
    await this.written;
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    await this.audio?.close();
    this.panel.hidden = true;
    this.onEnd();
    if (!this.recording) return;
    if (!this.isKept) {
      await remove(this.recording.id);
      return;
    }
    this.onFile(await assemble(this.recording, recordingName(this.recording.startedAt)), this.recording.id);
  }

  /** @param {"recording" | "paused"} state */
  show(state) {
    this.state.textContent = say(state);
    this.pauseButton.textContent = say(state === "recording" ? "pause" : "resume");
    this.panel.dataset.state = state;
    announce(say(state));
  }

  /** @param {MediaStream} stream */
  listen(stream) {
    this.audio = new AudioContext();
    this.analyser = this.audio.createAnalyser();
    this.analyser.fftSize = 1024;
    this.audio.createMediaStreamSource(stream).connect(this.analyser);
    this.samples = new Float32Array(this.analyser.fftSize);
  }

  /** Level and time, as long as it lasts. */
  draw() {
    if (!this.analyser || !this.samples || this.media?.state === "inactive") return;
    this.analyser.getFloatTimeDomainData(this.samples);
    const loudest = this.samples.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
    const isHeard = this.media?.state === "recording";
    // It falls slower than it rises, so that the eye can follow.
    this.level.value = isHeard ? Math.max(loudest, this.level.value * 0.9) : 0;
    this.time.textContent = clock(this.seconds);
    requestAnimationFrame(() => this.draw());
  }
}

/**
 * When a recording began, in the language of the page.
 * @param {number} startedAt
 * @returns {string}
 */
export function began(startedAt) {
  return new Date(startedAt).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
}
