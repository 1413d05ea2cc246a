// OpenAI's own client for Node: node openai.mjs BASE_URL KEY FILE; prints what came as one line of JSON.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [baseURL, apiKey, file] = process.argv.slice(2);
// The packages are where the test installed them: its working folder.
const require = createRequire(pathToFileURL(path.join(process.cwd(), "index.js")));
const OpenAI = require("openai");
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const ask = (more) =>
  client.audio.transcriptions.create({ model: "whisper-1", file: fs.createReadStream(file), ...more });

const found = {};
found.json = await ask({ include: ["logprobs"] });
found.verbose = await ask({ response_format: "verbose_json", timestamp_granularities: ["word", "segment"] });
for (const kind of ["text", "srt", "vtt"]) found[kind] = await ask({ response_format: kind });
found.events = [];
for await (const event of await ask({ stream: true })) found.events.push(event);
const raw = await ask({ languages: ["en", "de"], keywords: ["Americans"], chunking_strategy: "auto" }).withResponse();
found.raw = { text: raw.data.text, gpuUsed: raw.response.headers.get("x-gpu-used"), warnings: raw.response.headers.get("x-warnings") };
found.diarized = await ask({ response_format: "diarized_json" });
found.models = [];
for await (const model of client.models.list()) found.models.push(model.id);
found.errors = [];
for (const more of [{ temperature: 7 }, { model: "large-v9" }, { response_format: "diarized_json", known_speaker_names: ["Ada"] }]) {
  try {
    await ask(more);
  } catch (error) {
    found.errors.push({ name: error.constructor.name, status: error.status, code: error.code, message: error.message });
  }
}
console.log(JSON.stringify(found));
