/** Runs beside the page: the microphone's sound as 16-bit samples, a tenth of a second at a time. */

class Sampler extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Int16Array(sampleRate / 10);
    this.count = 0;
  }

  /**
   * @param {Float32Array[][]} inputs
   * @returns {boolean}
   */
  process([channels]) {
    const length = channels[0]?.length ?? 0;
    for (let place = 0; place < length; place += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[place];
      const value = Math.max(-1, Math.min(1, sum / channels.length));
      this.samples[this.count] = Math.round(value * 32767);
      this.count += 1;
      if (this.count === this.samples.length) {
        const whole = this.samples.slice();
        this.port.postMessage(whole.buffer, [whole.buffer]);
        this.count = 0;
      }
    }
    return true;
  }
}

registerProcessor("sampler", Sampler);
