// Vercel's AI SDK and tus-js-client: node others.mjs BASE_URL KEY FILE; prints what came as one line of JSON.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [baseURL, apiKey, file] = process.argv.slice(2);
const require = createRequire(pathToFileURL(path.join(process.cwd(), "index.js")));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { experimental_transcribe: oldName, transcribe: newName } = await load("ai");
const transcribe = newName ?? oldName;
const { createOpenAI } = await load("@ai-sdk/openai");
const { createOpenAICompatible } = await load("@ai-sdk/openai-compatible");

const found = {};
const provider = createOpenAI({ baseURL, apiKey });
const answer = await transcribe({ model: provider.transcription("whisper-1"), audio: fs.readFileSync(file) });
found.ai = { text: answer.text, segments: answer.segments.length, language: answer.language, seconds: answer.durationInSeconds };
const compatible = createOpenAICompatible({ name: "transcriber", baseURL, apiKey });
found.compatibleTranscribes = typeof compatible.transcriptionModel === "function";
if (found.compatibleTranscribes) {
  const again = await transcribe({ model: compatible.transcriptionModel("whisper-1"), audio: fs.readFileSync(file) });
  found.compatible = again.text;
}

const tus = require("tus-js-client");
const root = baseURL.replace(/\/v1$/, "");
const headers = { Authorization: `Bearer ${apiKey}` };
found.tus = await new Promise((resolve, reject) => {
  const upload = new tus.Upload(fs.createReadStream(file), {
    endpoint: `${root}/uploads`,
    uploadSize: fs.statSync(file).size,
    chunkSize: 300000,
    metadata: { filename: path.basename(file) },
    headers,
    onError: reject,
    onSuccess: () => resolve(upload.url),
  });
  upload.start();
});
const body = new URLSearchParams({ upload: found.tus.split("/").pop() });
const job = await fetch(`${root}/jobs`, { method: "POST", body, headers: { ...headers, Accept: "application/json" } });
found.job = { status: job.status, ...(await job.json()) };
console.log(JSON.stringify(found));
