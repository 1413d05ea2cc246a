/** Live captions: the microphone's or a tab's sound goes out over a WebSocket, text comes back; a lost line is taken up again. */

import { announce, explain, say } from "./words.js";

const RATE = 24000;

/** Sound that is kept until the service has it, in bytes: the length of an outage that loses nothing. */
const MOST_KEPT = 60 * RATE * 2;

/** Waits between tries to connect again, in milliseconds. */
const WAITS = [500, 1000, 2000, 4000, 8000];

const TEXT = "conversation.item.input_audio_transcription";

/**
 * @param {ArrayBuffer} buffer
 * @returns {string}
 */
function base64(buffer) {
  return btoa(String.fromCharCode(...new Uint8Array(buffer)));
}

/** What was sent and may have to be sent again. */
class Sent {
  constructor() {
    /** @type {ArrayBuffer[]} */
    this.parts = [];
    this.begin = 0;
    this.end = 0;
  }

  /** @param {ArrayBuffer} part */
  add(part) {
    this.parts.push(part);
    this.end += part.byteLength;
    while (this.end - this.begin > MOST_KEPT) this.begin += /** @type {ArrayBuffer} */ (this.parts.shift()).byteLength;
  }

  /**
   * What the service has not got, after so many bytes.
   * @param {number} received
   * @returns {ArrayBuffer[]}
   */
  after(received) {
    let place = this.begin;
    return this.parts.filter((part) => (place += part.byteLength) > received);
  }
}

/** One session, over as many connections as it takes. */
class Captions {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.list = this.part("[data-captions]");
    this.state = this.part("[data-state]");
    this.device = this.part("[data-device]");
    this.job = /** @type {HTMLAnchorElement} */ (this.part("[data-job]"));
    this.failure = this.part("[data-failure]");
    this.stopButton = /** @type {HTMLButtonElement} */ (this.part("[data-stop]"));
    this.startButtons = /** @type {HTMLButtonElement[]} */ ([this.part("[data-microphone]"), this.part("[data-tab]")]);
    this.startButtons[0].onclick = () => this.start(() => navigator.mediaDevices.getUserMedia({ audio: true }));
    this.startButtons[1].onclick = () => this.start(() => this.shareTab());
    this.stopButton.onclick = () => this.stop();
    this.sent = new Sent();
    this.session = "";
    this.number = 0;
    this.lostAt = 0;
    this.tries = 0;
    this.isRunning = false;
    this.isOpen = false;
    /** @type {Map<string, HTMLElement>} */
    this.items = new Map();
  }

  reset() {
    this.sent = new Sent();
    this.items.clear();
    this.session = "";
    this.number = 0;
    this.lostAt = 0;
    this.tries = 0;
    this.isRunning = false;
    this.isOpen = false;
  }

  /**
   * @param {string} selector
   * @returns {HTMLElement}
   */
  part(selector) {
    return /** @type {HTMLElement} */ (this.root.querySelector(selector));
  }

  /** A tab's sound; browsers give it with its picture, which is dropped. */
  async shareTab() {
    const stream = await navigator.mediaDevices.getDisplayMedia({ audio: true, video: true });
    for (const track of stream.getVideoTracks()) {
      track.stop();
      stream.removeTrack(track);
    }
    if (!stream.getAudioTracks().length) throw new Error(say("no_tab_sound"));
    return stream;
  }

  /** @param {() => Promise<MediaStream>} getStream */
  async start(getStream) {
    this.failure.hidden = true;
    try {
      this.stream = await getStream();
    } catch (error) {
      this.fail({ message: say("no_sound", { reason: /** @type {Error} */ (error).message }) });
      return;
    }
    this.reset();
    this.list.replaceChildren();
    this.job.hidden = true;
    this.isRunning = true;
    this.show("connecting");
    this.stream.getAudioTracks()[0].onended = () => this.stop();
    this.audio = new AudioContext({ sampleRate: RATE });
    await this.audio.audioWorklet.addModule(this.root.dataset.workletUrl ?? "");
    const sampler = new AudioWorkletNode(this.audio, "sampler");
    sampler.port.onmessage = ({ data }) => this.hear(data);
    this.audio.createMediaStreamSource(this.stream).connect(sampler);
    this.connect();
    this.stopButton.focus();
  }

  connect() {
    const address = new URL(this.root.dataset.socketUrl ?? "", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    address.searchParams.set("intent", "transcription");
    address.searchParams.set("model", this.choice("model"));
    if (this.session) {
      address.searchParams.set("session_id", this.session);
      address.searchParams.set("after", String(this.number));
    }
    const socket = new WebSocket(address);
    this.socket = socket;
    socket.onmessage = ({ data }) => this.take(JSON.parse(data));
    socket.onclose = ({ code }) => {
      if (this.socket === socket) this.closed(code);
    };
  }

  /**
   * @param {string} name
   * @returns {string}
   */
  choice(name) {
    return /** @type {HTMLSelectElement} */ (this.part(`[name=${name}]`)).value;
  }

  /** @param {ArrayBuffer} samples */
  hear(samples) {
    if (!this.isRunning) return;
    this.sent.add(samples);
    if (this.isOpen) this.send(samples);
  }

  /** @param {ArrayBuffer} samples */
  send(samples) {
    this.socket?.send(JSON.stringify({ type: "input_audio_buffer.append", audio: base64(samples) }));
  }

  /** @param {any} event */
  take(event) {
    this.number = event.transcriber?.number ?? this.number;
    switch (event.type) {
      case "session.created":
      case "session.updated":
        if (!this.isOpen) this.opened(event.session);
        break;
      case `${TEXT}.delta`:
        this.item(event.item_id).append(event.delta);
        break;
      case `${TEXT}.completed`:
        this.complete(event);
        break;
      case `${TEXT}.failed`:
        this.fail(event.error);
        break;
      case "error":
        this.fail(event.error);
    }
  }

  /** @param {any} session */
  opened(session) {
    const isNew = session.id !== this.session;
    if (isNew) {
      // A service that was started anew knows nothing of the session before: this one begins with the sound of the outage.
      const rest = this.sent.after(this.lostAt);
      this.sent = new Sent();
      for (const part of rest) this.sent.add(part);
      this.number = 0;
    }
    this.session = session.id;
    this.tries = 0;
    this.isOpen = true;
    this.failure.hidden = true;
    const language = this.choice("language");
    const transcription = language === "auto" ? {} : { language };
    const input = { format: { type: "audio/pcm", rate: RATE }, transcription, turn_detection: { type: "server_vad" } };
    if (isNew) this.socket?.send(JSON.stringify({ type: "session.update", session: { type: "transcription", audio: { input } } }));
    for (const part of this.sent.after(session.transcriber.received_bytes)) this.send(part);
    this.job.href = (this.root.dataset.jobUrl ?? "").replace("JOB", session.transcriber.job_id);
    this.show("listening");
  }

  /**
   * The line of an utterance.
   * @param {string} id
   * @returns {HTMLElement}
   */
  item(id) {
    let line = this.items.get(id);
    if (!line) {
      line = document.createElement("p");
      line.dir = "auto";
      line.dataset.open = "";
      this.items.set(id, line);
      this.list.append(line);
      line.scrollIntoView({ block: "nearest" });
    }
    return line;
  }

  /** @param {any} event */
  complete(event) {
    if (event.transcript) {
      const line = this.item(event.item_id);
      line.textContent = event.transcript;
      delete line.dataset.open;
      line.scrollIntoView({ block: "nearest" });
      this.job.hidden = false;
    }
    const { gpu_used, device, compute_type } = event.transcriber;
    this.device.textContent = say(gpu_used ? "on_gpu" : "on_cpu", { device, type: compute_type });
  }

  /** @param {number} code */
  closed(code) {
    if (this.isOpen) this.lostAt = this.sent.end;
    this.isOpen = false;
    if (!this.isRunning || code === 1000) {
      this.end();
      return;
    }
    const wait = WAITS[this.tries];
    this.tries += 1;
    if (wait === undefined) {
      this.fail({ message: say("gone") });
      this.end();
      return;
    }
    this.show("lost");
    setTimeout(() => this.isRunning && this.connect(), wait);
  }

  stop() {
    if (!this.isRunning) return;
    this.isRunning = false;
    if (this.isOpen) this.socket?.close(1000);
    this.end();
  }

  end() {
    this.isRunning = false;
    this.isOpen = false;
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    if (this.audio?.state !== "closed") this.audio?.close();
    this.show("ended");
  }

  /** @param {string} state */
  show(state) {
    this.root.dataset.phase = state;
    this.state.textContent = say(state);
    announce(say(state));
    this.stopButton.hidden = !this.isRunning;
    for (const button of this.startButtons) button.hidden = this.isRunning;
  }

  /** @param {{code?: string, message?: string, fix?: string}} error */
  fail(error) {
    const { message, fix } = explain(error);
    this.failure.hidden = false;
    this.part("[data-message]").textContent = message;
    this.part("[data-fix]").textContent = fix;
  }
}

const root = /** @type {HTMLElement} */ (document.querySelector("[data-live]"));
if (navigator.mediaDevices && window.AudioWorkletNode) {
  root.hidden = false;
  new Captions(root);
} else {
  const needs = document.querySelector("[data-needs]");
  if (needs instanceof HTMLElement) needs.hidden = false;
}
