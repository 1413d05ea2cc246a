"""LiteLLM and langchain-openai: BASE_URL KEY FILE; prints what came as one line of JSON. Runs in their own environment."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

# LiteLLM would fetch its price list from the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import openai
from langchain_openai import ChatOpenAI

base_url, key, file = sys.argv[1:]


def opened() -> tuple[str, bytes]:
    return Path(file).name, Path(file).read_bytes()


def ask(**more: object) -> dict[str, object]:
    with open(file, "rb") as audio:
        answer = litellm.transcription(
            model="openai/whisper-1", file=audio, api_base=base_url, api_key=key, **more
        )
    return answer.model_dump()


async def ask_async() -> str:
    with open(file, "rb") as audio:
        answer = await litellm.atranscription(
            model="openai/whisper-1", file=audio, api_base=base_url, api_key=key
        )
    return str(answer.text)


found: dict[str, object] = {"litellm": ask(), "verbose": ask(response_format="verbose_json")}
found["async"] = asyncio.run(ask_async())
try:
    ask(temperature=7)
except (litellm.BadRequestError, openai.BadRequestError) as error:  # the client's own comes through
    found["error"] = str(error)
chat = ChatOpenAI(base_url=base_url, api_key=key, model="none")
found["langchain"] = chat.root_client.audio.transcriptions.create(model="whisper-1", file=opened()).text
print(json.dumps(found, default=str))
