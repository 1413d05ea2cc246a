/** The picture of a recording: its loudness as the service saw it while decoding, else where somebody speaks. */

import { endOf, rowsOf, startOf } from "./rows.js";

/** Parts of a picture that is made of rows. */
const PARTS = 600;

/**
 * Draw into the section's canvas; the slider over it is what is clicked.
 * @param {HTMLElement} section
 * @param {import("./player.js").Player} player
 * @param {AbortSignal} signal
 * @returns {() => void} shows where the recording is now
 */
export function drawWave(section, player, signal) {
  const canvas = /** @type {HTMLCanvasElement} */ (section.querySelector("[data-wave]"));
  const duration = Number(section.dataset.duration);
  if (!(duration > 0)) return () => {};
  const state = { peaks: loudness(canvas.dataset.peaks ?? "") ?? speech(player.text, duration), drawn: -1 };
  const draw = () => paint(canvas, state, player.media.currentTime / duration);
  const again = () => { state.drawn = -1; draw(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again, { signal });
  const watch = new ResizeObserver(again);
  watch.observe(canvas);
  signal.addEventListener("abort", () => watch.disconnect());
  player.text.addEventListener("changed", () => { if (!canvas.dataset.peaks) state.peaks = speech(player.text, duration); }, { signal });
  return draw;
}

/**
 * Where somebody speaks, by the rows.
 * @param {HTMLElement} text
 * @param {number} duration
 * @returns {number[]}
 */
function speech(text, duration) {
  const peaks = new Array(PARTS).fill(0.06);
  for (const row of rowsOf(text)) {
    const last = Math.min(PARTS - 1, Math.floor((endOf(row) / duration) * PARTS));
    for (let part = Math.floor((startOf(row) / duration) * PARTS); part <= last; part += 1) peaks[part] = 0.5;
  }
  return peaks;
}

/**
 * How loud each part of the file is, from 0 to 1; null where the service did not say (a result of an earlier version).
 * @param {string} text  a byte for each part, in base64
 * @returns {number[] | null}
 */
function loudness(text) {
  return text ? [...atob(text)].map((part) => Math.max(0.03, part.charCodeAt(0) / 255)) : null;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{peaks: number[], drawn: number}} state
 * @param {number} share  of the recording that is played
 */
function paint(canvas, state, share) {
  const bars = Math.max(1, Math.floor(canvas.clientWidth / 3));
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
    const from = Math.floor((bar * state.peaks.length) / bars);
    const to = Math.max(from + 1, Math.floor(((bar + 1) * state.peaks.length) / bars));
    const tall = Math.max(2, Math.max(...state.peaks.slice(from, to)) * height * 0.95);
    pen.fillStyle = bar < played ? style.accentColor : style.color;
    pen.fillRect((bar * width) / bars, (height - tall) / 2, (width / bars) * 0.66, tall);
  }
}
