"""Anthropic's Python SDK against a gateway: every call that applications make, with its own types. Any warning is a failure.

Arguments: the gateway's URL, a key, `openai` or `anthropic` for what the model's server speaks, the engine's URL.
"""

import asyncio
import warnings
from typing import Literal

import anthropic
from pydantic import BaseModel

from common import *

warnings.simplefilter("error")
SETTINGS = {"base_url": URL, "max_retries": 0, "timeout": 300}
client = anthropic.Anthropic(api_key=KEY, **SETTINGS)
# The SDK has no `temperature` any more.
FIRM = {"extra_body": {"temperature": 0}}
SHORT = {"model": CHAT, "max_tokens": 8, "messages": ASK, **FIRM}
WEATHER = {"name": NAME, "description": DESCRIPTION, "input_schema": SCHEMA}
CALLING = {"model": TOOLS, "max_tokens": 60, "messages": ASK, "tools": [WEATHER], "tool_choice": {"type": "any"}, **FIRM}


class City(BaseModel):
    city: Literal["Paris", "Rome"]


def message():
    raw = client.messages.with_raw_response.create(**SHORT, system="Be brief.", stop_sequences=["###"])
    assert raw.headers["x-portfolio-model"] == "default/" + CHAT and raw.headers["x-request-id"], raw.headers
    answer = raw.parse()
    assert answer.type == "message" and answer.role == "assistant" and answer.id, answer
    assert answer.content[0].type == "text" and answer.content[0].text, answer
    assert answer.stop_reason in ("end_turn", "max_tokens"), answer
    assert answer.usage.input_tokens > 0 and 0 < answer.usage.output_tokens <= 8, answer


def stream():
    plain = client.messages.create(**SHORT)
    with client.messages.stream(**SHORT) as events:
        kinds = [event.type for event in events]
        final = events.get_final_message()
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") >= 1, kinds
    assert final.content[0].text == plain.content[0].text and final.stop_reason == plain.stop_reason, (final, plain)
    assert final.usage.output_tokens == plain.usage.output_tokens, (final, plain)
    read = lambda usage: usage.input_tokens + (usage.cache_read_input_tokens or 0)
    assert read(final.usage) == read(plain.usage), (final, plain)
    raw = list(client.messages.create(**SHORT, stream=True))
    assert raw[0].type == "message_start" and raw[-1].type == "message_stop", raw
    with client.messages.stream(**SHORT) as events:
        assert "".join(events.text_stream) == plain.content[0].text


def tools():
    answer = client.messages.create(**CALLING)
    [call] = [block for block in answer.content if block.type == "tool_use"]
    assert call.id and call.name == NAME and call.input["city"] in CITIES, answer
    assert answer.stop_reason == "tool_use", answer
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny, 21 degrees"}
    said = {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in answer.content]}
    turn = [*ASK, said, {"role": "user", "content": [result]}]
    after = client.messages.create(**CALLING | {"messages": turn})
    assert after.content and after.usage.output_tokens > 0, after


def tools_streamed():
    with client.messages.stream(**CALLING) as events:
        seen = list(events)
        final = events.get_final_message()
    kinds = {event.type for event in seen}
    assert "input_json" in kinds and {"content_block_start", "content_block_delta", "content_block_stop"} <= kinds, kinds
    [call] = [block for block in final.content if block.type == "tool_use"]
    assert call.name == NAME and call.input["city"] in CITIES and final.stop_reason == "tool_use", final


def schema():
    if FAMILY == "anthropic":  # The engine does not know Anthropic's `output_config`.
        return
    answer = client.messages.parse(**SHORT | {"max_tokens": 60}, output_format=City)
    assert answer.parsed_output.city in CITIES, answer


def beta():
    # As coding agents ask: with a query and headers of features.
    answer = client.beta.messages.create(**SHORT, betas=["interleaved-thinking-2025-05-14"], metadata={"user_id": "somebody"})
    assert answer.content[0].text, answer


def count():
    assert client.messages.count_tokens(model=CHAT, messages=ASK).input_tokens > 4
    assert client.messages.count_tokens(model=TOOLS, messages=ASK, tools=[WEATHER], system="Be brief.").input_tokens > 20


def models():
    names = [model.id for model in client.models.list()]
    assert {CHAT, TOOLS} <= set(names), names
    assert client.models.retrieve(CHAT).id == CHAT


def mistakes():
    def is_(kind):
        return lambda error: error.body["type"] == "error" and error.body["error"]["type"] == kind

    create = client.messages.create
    raises(anthropic.NotFoundError, lambda: create(**SHORT | {"model": "nobody"}), is_("not_found_error"))
    raises(anthropic.NotFoundError, lambda: create(**SHORT | {"model": "nobody"}, stream=True), is_("not_found_error"))
    raises(anthropic.NotFoundError, lambda: client.models.retrieve("nobody"), is_("not_found_error"))
    raises(anthropic.BadRequestError, lambda: create(**SHORT | {"model": 7}), is_("invalid_request_error"))
    raises(anthropic.BadRequestError, lambda: create(**SHORT | {"messages": TOO_LONG}), is_("invalid_request_error"))
    raises(anthropic.BadRequestError, lambda: create(**SHORT | {"messages": TOO_LONG}, stream=True), is_("invalid_request_error"))
    stranger = anthropic.Anthropic(api_key="sk-unknown", **SETTINGS)
    raises(anthropic.AuthenticationError, lambda: stranger.messages.create(**SHORT), is_("authentication_error"))
    raises(anthropic.AuthenticationError, stranger.models.list, is_("authentication_error"))


def hang_up():
    ask = [{"role": "user", "content": "Write a very long story about a river."}]
    with client.messages.stream(model=CHAT, max_tokens=1500, messages=ask) as events:
        text = next(iter(events.text_stream))
        assert text and slots(), "an answer in the making"
    engine_stops()


def side_by_side():
    began, ended = [], []

    async def one(fellow, number):
        async with fellow.messages.stream(**SHORT | {"max_tokens": 24}) as events:
            async for text in events.text_stream:
                if text and number not in began:
                    began.append(number)
        assert len(began) == 2, "one waits for the other's end"
        ended.append(number)

    async def both():
        async with anthropic.AsyncAnthropic(api_key=KEY, **SETTINGS) as fellow:
            await asyncio.gather(one(fellow, 1), one(fellow, 2))

    asyncio.run(both())
    assert sorted(ended) == [1, 2], ended


run(message, stream, tools, tools_streamed, schema, beta, count, models, mistakes, hang_up, side_by_side)
