"""OpenAI's Python SDK against a gateway: every call that applications make, with its own types. Any warning is a failure.

Arguments: the gateway's URL, a key, `openai` or `anthropic` for what the model's server speaks, the engine's URL.
"""

import asyncio
import json
import warnings
from typing import Literal

import openai
from pydantic import BaseModel

from common import *

warnings.simplefilter("error")
SETTINGS = {"base_url": URL + "/v1", "max_retries": 0, "timeout": 300}
client = openai.OpenAI(api_key=KEY, **SETTINGS)
chat_completions, responses_api = client.chat.completions, client.responses
SHORT = {"model": CHAT, "messages": ASK, "max_tokens": 8, "temperature": 0}
FUNCTION = {"name": NAME, "description": DESCRIPTION, "parameters": SCHEMA}
WEATHER = {"type": "function", "function": FUNCTION}
CALLING = {"model": TOOLS, "messages": ASK, "max_tokens": 60, "tools": [WEATHER], "tool_choice": "required", "temperature": 0}


class City(BaseModel):
    city: Literal["Paris", "Rome"]


def chat():
    raw = chat_completions.with_raw_response.create(**SHORT)
    assert raw.headers["x-portfolio-model"] == "default/" + CHAT and raw.headers["x-request-id"], raw.headers
    assert raw.headers["x-portfolio-attempts"] == "1", raw.headers
    answer = raw.parse()
    assert answer.object == "chat.completion" and answer.id and answer.created > 0, answer
    assert answer.choices[0].message.role == "assistant" and answer.choices[0].message.content, answer
    assert answer.choices[0].finish_reason in ("stop", "length"), answer
    assert 0 < answer.usage.completion_tokens <= 8 and answer.usage.prompt_tokens > 8, answer
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens, answer


def stream():
    plain = chat_completions.create(**SHORT)
    chunks = list(chat_completions.create(**SHORT, stream=True))
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks), "usage that was not asked for"
    assert len({chunk.id for chunk in chunks}) == 1, chunks
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == plain.choices[0].message.content, (text, plain)
    assert chunks[-1].choices[0].finish_reason == plain.choices[0].finish_reason, (chunks[-1], plain)
    asked = list(chat_completions.create(**SHORT, stream=True, stream_options={"include_usage": True}))
    assert asked[-1].choices == [] and all(chunk.usage is None for chunk in asked[:-1]), asked
    assert asked[-1].usage.completion_tokens == plain.usage.completion_tokens, (asked[-1], plain)
    assert asked[-1].usage.prompt_tokens == plain.usage.prompt_tokens, (asked[-1], plain)


def stream_helper():
    with chat_completions.stream(**SHORT) as events:
        kinds = [event.type for event in events]
        # Not `get_final_completion`: it raises when tokens ran out.
        final = events.current_completion_snapshot
    assert kinds[0] == "chunk" and "content.delta" in kinds and "content.done" in kinds, kinds
    assert final.choices[0].message.content and final.choices[0].finish_reason, final


def tools():
    answer = chat_completions.create(**CALLING)
    message = answer.choices[0].message
    [call] = message.tool_calls
    assert call.id and call.type == "function" and call.function.name == NAME, call
    assert json.loads(call.function.arguments)["city"] in CITIES, call
    assert answer.choices[0].finish_reason == "tool_calls", answer
    result = {"role": "tool", "tool_call_id": call.id, "content": "Sunny, 21 degrees"}
    turn = [*ASK, message.model_dump(exclude_none=True), result]
    after = chat_completions.create(**CALLING | {"messages": turn})
    assert after.choices[0].message.tool_calls and after.usage.prompt_tokens > answer.usage.prompt_tokens, after


def tools_streamed():
    chunks = list(chat_completions.create(**CALLING, stream=True))
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert deltas[0].id and deltas[0].function.name == NAME and len(deltas) > 2, deltas
    assert all(call.index == 0 and call.id in (None, deltas[0].id) for call in deltas), deltas
    assert json.loads("".join(call.function.arguments or "" for call in deltas))["city"] in CITIES, deltas
    assert chunks[-1].choices[0].finish_reason == "tool_calls", chunks[-1]
    strict = openai.pydantic_function_tool(City, name=NAME, description=DESCRIPTION)
    with chat_completions.stream(**CALLING | {"tools": [strict]}) as events:
        kinds = {event.type for event in events}
        final = events.get_final_completion()
    assert {"tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds, kinds
    assert final.choices[0].message.tool_calls[0].function.parsed_arguments.city in CITIES, final


def schema():
    if FAMILY == "anthropic":  # The engine does not know Anthropic's `output_config`.
        return
    answer = chat_completions.parse(**SHORT | {"max_tokens": 60}, response_format=City)
    assert answer.choices[0].message.parsed.city in CITIES, answer
    answer = responses_api.parse(model=CHAT, input=QUESTION, max_output_tokens=60, text_format=City)
    assert answer.output_parsed.city in CITIES, answer


def responses():
    answer = responses_api.create(model=CHAT, input=QUESTION, max_output_tokens=16, temperature=0)
    assert answer.output_text and answer.object == "response", answer
    assert 0 < answer.usage.output_tokens <= 16 and answer.usage.input_tokens > 8, answer
    assert answer.status == ("incomplete" if answer.usage.output_tokens == 16 else "completed"), answer
    with responses_api.stream(model=CHAT, input=QUESTION, max_output_tokens=16, temperature=0) as events:
        seen = list(events)
    # Not `get_final_response`: it raises when tokens ran out.
    kinds, final = [event.type for event in seen], seen[-1].response
    assert kinds[0] == "response.created" and kinds[-1] == "response." + final.status, kinds
    assert [event.sequence_number for event in seen] == list(range(len(seen))), seen
    deltas = "".join(event.delta for event in seen if event.type == "response.output_text.delta")
    assert deltas == final.output_text == answer.output_text, (deltas, final, answer)
    assert final.usage.output_tokens == answer.usage.output_tokens, (final, answer)


def responses_tools():
    tool = {"type": "function", "strict": True, **FUNCTION}
    asked = {"model": TOOLS, "tools": [tool], "tool_choice": "required", "max_output_tokens": 60, "temperature": 0}
    answer = responses_api.create(input=QUESTION, **asked)
    [call] = [item for item in answer.output if item.type == "function_call"]
    assert call.call_id and call.name == NAME and json.loads(call.arguments)["city"] in CITIES, answer
    assert answer.status == "completed", answer
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny, 21 degrees"}
    after = responses_api.create(input=[*ASK, *[item.model_dump(exclude_none=True) for item in answer.output], result], **asked)
    assert after.output and after.usage.input_tokens > answer.usage.input_tokens, after
    with responses_api.stream(input=QUESTION, **asked) as events:
        kinds = {event.type for event in events}
        final = events.get_final_response()
    assert {"response.function_call_arguments.delta", "response.function_call_arguments.done"} <= kinds, kinds
    assert json.loads(final.output[-1].arguments)["city"] in CITIES, final


def completions():
    asked = {"model": CHAT, "prompt": "The capital of France is", "max_tokens": 8, "temperature": 0}
    answer = client.completions.create(**asked)
    assert answer.choices[0].text and answer.object == "text_completion" and answer.usage.completion_tokens > 0, answer
    pieces = list(client.completions.create(**asked, stream=True))
    # The engine reports tokens with the last piece, asked or not; an event that only reports them would have no choice.
    assert "".join(piece.choices[0].text for piece in pieces) == answer.choices[0].text, (pieces, answer)


def embeddings():
    # The SDK asks for base64 by itself.
    answer = client.embeddings.create(model=VECTORS, input=["one", "two"])
    plain = client.embeddings.create(model=VECTORS, input="one", encoding_format="float")
    assert [vector.index for vector in answer.data] == [0, 1] and answer.usage.prompt_tokens > 0, answer
    assert len(answer.data[0].embedding) == len(plain.data[0].embedding) > 10, answer
    near = zip(answer.data[0].embedding, plain.data[0].embedding)
    assert all(abs(one - other) < 1e-3 for one, other in near), "base64 and floats differ"
    assert answer.data[0].embedding != answer.data[1].embedding, answer


def models():
    names = [model.id for model in client.models.list()]
    assert {CHAT, TOOLS, VECTORS} <= set(names), names
    assert client.models.retrieve(CHAT).id == CHAT


def mistakes():
    wrong, nobody = {"messages": ASK, "max_tokens": 8}, "nobody"
    unknown = lambda error: error.code == "model_not_found" and "vectors" in error.message
    raises(openai.NotFoundError, lambda: chat_completions.create(model=nobody, **wrong), unknown)
    raises(openai.NotFoundError, lambda: chat_completions.create(model=nobody, stream=True, **wrong), unknown)
    raises(openai.NotFoundError, lambda: responses_api.create(model=nobody, input="Hi"), unknown)
    raises(openai.NotFoundError, lambda: client.embeddings.create(model=nobody, input="Hi"), unknown)
    raises(openai.NotFoundError, lambda: client.models.retrieve(nobody), lambda error: error.code == "model_not_found")
    raises(openai.BadRequestError, lambda: chat_completions.create(model=7, **wrong), lambda error: error.type == "invalid_request_error")
    long = SHORT | {"messages": TOO_LONG}
    for more in ({}, {"stream": True}):
        raises(openai.BadRequestError, lambda: chat_completions.create(**long, **more), lambda error: "context" in error.message)
    stranger = openai.OpenAI(api_key="sk-unknown", **SETTINGS)
    raises(openai.AuthenticationError, lambda: stranger.chat.completions.create(**SHORT), lambda error: "key" in error.message)
    raises(openai.AuthenticationError, stranger.models.list, lambda error: "key" in error.message)


def hang_up():
    ask = [{"role": "user", "content": "Write a very long story about a river."}]
    events = chat_completions.create(model=CHAT, messages=ask, max_tokens=1500, temperature=0, stream=True)
    seen = [next(events), next(events)]
    assert seen and slots(), "an answer in the making"
    events.close()
    engine_stops()


def side_by_side():
    began, ended = [], []

    async def one(fellow, number):
        async for chunk in await fellow.chat.completions.create(**SHORT | {"max_tokens": 24}, stream=True):
            if chunk.choices[0].delta.content and number not in began:
                began.append(number)
        assert len(began) == 2, "one waits for the other's end"
        ended.append(number)

    async def both():
        async with openai.AsyncOpenAI(api_key=KEY, **SETTINGS) as fellow:
            await asyncio.gather(one(fellow, 1), one(fellow, 2))

    asyncio.run(both())
    assert sorted(ended) == [1, 2], ended


run(
    chat, stream, stream_helper, tools, tools_streamed, schema, responses, responses_tools, completions, embeddings, models,
    mistakes, hang_up, side_by_side,
)
