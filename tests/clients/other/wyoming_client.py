"""A Wyoming client, as Home Assistant is one: PORT FILE.wav; prints the text. Runs in wyoming_openai's environment."""

from __future__ import annotations

import asyncio
import json
import sys
import wave

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe, Info


async def main(port: int, path: str) -> dict[str, object]:
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Describe().event())
        info = Info.from_event(await client.read_event())
        await client.write_event(Transcribe(language="en").event())
        with wave.open(path, "rb") as file:
            form = {
                "rate": file.getframerate(),
                "width": file.getsampwidth(),
                "channels": file.getnchannels(),
            }
            await client.write_event(AudioStart(**form).event())
            while data := file.readframes(1024):
                await client.write_event(AudioChunk(audio=data, **form).event())
        await client.write_event(AudioStop().event())
        while (event := await client.read_event()) is not None:
            if Transcript.is_type(event.type):
                models = [model.name for program in info.asr for model in program.models]
                return {"text": Transcript.from_event(event).text, "models": models}
    return {"text": "", "models": []}


print(json.dumps(asyncio.run(main(int(sys.argv[1]), sys.argv[2]))))
