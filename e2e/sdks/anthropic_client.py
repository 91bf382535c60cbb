"""Anthropic's Python SDK against a gateway: every call that applications make, with its own types. Any warning is a failure.

Arguments: the base URL, the name of a chat model.
"""

import sys
import warnings

import anthropic

warnings.simplefilter("error")
URL, MODEL = sys.argv[1:3]
client = anthropic.Anthropic(base_url=URL, api_key="any", max_retries=0, timeout=120)
ASK = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = {
    "name": "weather",
    "description": "Tells the weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
        "required": ["city"],
    },
}


def message():
    raw = client.messages.with_raw_response.create(model=MODEL, max_tokens=12, messages=ASK, system="Be brief.")
    assert raw.headers["x-portfolio-model"] and raw.headers["x-request-id"], raw.headers
    answer = raw.parse()
    assert answer.content[0].type == "text" and answer.content[0].text, answer
    assert answer.stop_reason in ("end_turn", "max_tokens"), answer
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0, answer


def stream():
    with client.messages.stream(model=MODEL, max_tokens=12, messages=ASK) as events:
        kinds = [event.type for event in events]
        final = events.get_final_message()
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") >= 1, kinds
    assert final.content[0].text and final.usage.output_tokens > 0, final
    raw = list(client.messages.create(model=MODEL, max_tokens=12, messages=ASK, stream=True))
    assert raw[0].type == "message_start" and raw[-1].type == "message_stop", raw


def tools():
    answer = client.messages.create(
        model=MODEL, max_tokens=60, messages=ASK, tools=[WEATHER], tool_choice={"type": "any"}, temperature=0
    )
    call = [block for block in answer.content if block.type == "tool_use"][0]
    assert call.name == "weather" and call.input["city"] in ("Paris", "Rome"), answer
    assert answer.stop_reason == "tool_use", answer
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny, 21 degrees"}
    turn = [
        *ASK,
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in answer.content]},
        {"role": "user", "content": [result]},
    ]
    assert client.messages.create(model=MODEL, max_tokens=12, messages=turn, tools=[WEATHER]).content is not None
    with client.messages.stream(
        model=MODEL, max_tokens=60, messages=ASK, tools=[WEATHER], tool_choice={"type": "any"}, temperature=0
    ) as events:
        final = events.get_final_message()
    call = [block for block in final.content if block.type == "tool_use"][0]
    assert call.input["city"] in ("Paris", "Rome"), final


def count():
    assert client.messages.count_tokens(model=MODEL, messages=ASK).input_tokens > 0


def models():
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL


def mistakes():
    try:
        client.messages.create(model="nobody", max_tokens=5, messages=ASK)
    except anthropic.NotFoundError as error:
        assert error.body["type"] == "error" and error.body["error"]["type"] == "not_found_error", error.body
    else:
        raise AssertionError("a model that does not exist answered")


for case in (message, stream, tools, count, models, mistakes):
    case()
    print("ok", case.__name__, flush=True)
