/** The picture of a recording: its loudness where that is quickly known, else where somebody speaks. */

import { endOf, pause, rowsOf, startOf } from "./rows.js";

/** Beyond these a browser would need too much memory to decode a whole file. */
const MAX_BYTES = 40_000_000;
const MAX_SECONDS = 2700;

const BINS = 600;
const RATE = 8000;

/**
 * Draw into the section's canvas, and let it be clicked.
 * @param {HTMLElement} section
 * @param {import("./player.js").Player} player
 * @param {AbortSignal} signal
 * @returns {() => void} shows where the recording is now
 */
export function drawWave(section, player, signal) {
  const canvas = /** @type {HTMLCanvasElement} */ (section.querySelector("[data-wave]"));
  const duration = Number(section.dataset.duration);
  if (!(duration > 0)) return () => {};
  const state = { peaks: speech(player.text, duration), drawn: -1 };
  const draw = () => paint(canvas, state, player.media.currentTime / duration);
  canvas.hidden = false;
  canvas.addEventListener("click", (event) => {
    player.playFrom((event.offsetX / canvas.clientWidth) * duration);
  }, { signal });
  const again = () => { state.drawn = -1; draw(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again, { signal });
  const watch = new ResizeObserver(again);
  watch.observe(canvas);
  signal.addEventListener("abort", () => watch.disconnect());
  if (Number(canvas.dataset.bytes) <= MAX_BYTES && duration <= MAX_SECONDS && !navigator.connection?.saveData) {
    loudness(player.media.currentSrc || player.media.src, signal)
      .then((peaks) => { state.peaks = peaks; again(); }, () => {});  // what it can't decode it can't draw
  }
  return draw;
}

/**
 * Where somebody speaks, by the rows.
 * @param {HTMLElement} text
 * @param {number} duration
 * @returns {number[]}
 */
function speech(text, duration) {
  const peaks = new Array(BINS).fill(0.06);
  for (const row of rowsOf(text)) {
    const last = Math.min(BINS - 1, Math.floor((endOf(row) / duration) * BINS));
    for (let bin = Math.floor((startOf(row) / duration) * BINS); bin <= last; bin += 1) peaks[bin] = 0.5;
  }
  return peaks;
}

/**
 * How loud each part of the file is, from 0 to 1.
 * @param {string} url
 * @param {AbortSignal} signal
 * @returns {Promise<number[]>}
 */
async function loudness(url, signal) {
  const answer = await fetch(url, { signal });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const context = new OfflineAudioContext(1, 1, RATE);
  const samples = (await context.decodeAudioData(await answer.arrayBuffer())).getChannelData(0);
  const peaks = [];
  const size = samples.length / BINS;
  for (let bin = 0; bin < BINS; bin += 1) {
    let peak = 0;
    for (let at = Math.floor(bin * size); at < (bin + 1) * size; at += 1) peak = Math.max(peak, Math.abs(samples[at]));
    peaks.push(peak);
    if (bin % 20 === 0) await pause();
  }
  const most = Math.max(...peaks, 0.01);
  return peaks.map((peak) => Math.max(0.03, peak / most));
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{peaks: number[], drawn: number}} state
 * @param {number} share  of the recording that is played
 */
function paint(canvas, state, share) {
  const bars = Math.max(1, Math.min(BINS, Math.floor(canvas.clientWidth / 3)));
  const played = Math.floor(share * bars);
  if (played === state.drawn) return;
  state.drawn = played;
  const scale = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
  if (canvas.width !== Math.round(width)) [canvas.width, canvas.height] = [width, height];
  const pen = canvas.getContext("2d");
  if (!pen) return;
  const style = getComputedStyle(canvas);
  pen.clearRect(0, 0, width, height);
  for (let bar = 0; bar < bars; bar += 1) {
    const part = state.peaks.slice(Math.floor((bar * BINS) / bars), Math.max(1, Math.floor(((bar + 1) * BINS) / bars)));
    const tall = Math.max(2, Math.max(...part) * height * 0.95);
    pen.fillStyle = bar < played ? style.accentColor : style.color;
    pen.fillRect((bar * width) / bars, (height - tall) / 2, (width / bars) * 0.66, tall);
  }
}
