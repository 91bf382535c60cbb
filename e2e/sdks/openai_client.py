"""OpenAI's Python SDK against a gateway: every call that applications make, with its own types. Any warning is a failure.

Arguments: the base URL, the name of a chat model, the name of an embeddings model (or "-").
"""

import json
import sys
import warnings

import openai
from pydantic import BaseModel

warnings.simplefilter("error")
URL, MODEL, EMBEDDINGS = sys.argv[1:4]
client = openai.OpenAI(base_url=URL + "/v1", api_key="any", max_retries=0, timeout=120)
ASK = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class City(BaseModel):
    city: str


def chat():
    answer = client.chat.completions.with_raw_response.create(model=MODEL, messages=ASK, max_tokens=12, temperature=0)
    assert answer.headers["x-portfolio-model"] and answer.headers["x-request-id"], answer.headers
    assert answer.headers["x-portfolio-attempts"] == "1", answer.headers
    parsed = answer.parse()
    assert parsed.choices[0].message.content, parsed
    assert parsed.choices[0].finish_reason in ("stop", "length"), parsed
    assert parsed.usage.prompt_tokens > 0 and parsed.usage.completion_tokens > 0, parsed


def stream():
    plain = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=12, temperature=0)
    chunks = list(client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=12, temperature=0, stream=True))
    assert all(chunk.usage is None for chunk in chunks), "usage that was not asked for"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == plain.choices[0].message.content, (text, plain)
    options = {"include_usage": True}
    asked = list(
        client.chat.completions.create(
            model=MODEL, messages=ASK, max_tokens=12, temperature=0, stream=True, stream_options=options
        )
    )
    assert asked[-1].choices == [] and asked[-1].usage.completion_tokens > 0, asked[-1]


def stream_helper():
    with client.chat.completions.stream(model=MODEL, messages=ASK, max_tokens=12) as events:
        kinds = [event.type for event in events]
    assert "content.delta" in kinds and "content.done" in kinds, kinds


def tools():
    answer = client.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=60, tools=[WEATHER], tool_choice="required", temperature=0
    )
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "weather" and json.loads(call.function.arguments)["city"] in ("Paris", "Rome"), call
    assert answer.choices[0].finish_reason == "tool_calls", answer
    turn = [
        *ASK,
        answer.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "Sunny, 21 degrees"},
    ]
    after = client.chat.completions.create(model=MODEL, messages=turn, max_tokens=12, tools=[WEATHER])
    assert after.choices[0].message, after
    with client.chat.completions.stream(
        model=MODEL, messages=ASK, max_tokens=60, tools=[WEATHER], tool_choice="required", temperature=0
    ) as events:
        final = events.get_final_completion()
    assert json.loads(final.choices[0].message.tool_calls[0].function.arguments)["city"] in ("Paris", "Rome"), final


def schema():
    answer = client.chat.completions.parse(model=MODEL, messages=ASK, max_tokens=60, response_format=City)
    assert answer.choices[0].message.parsed.city is not None, answer


def responses():
    answer = client.responses.create(model=MODEL, input="What is the capital of France?", max_output_tokens=12)
    assert answer.output_text and answer.usage.output_tokens > 0, answer
    assert answer.status in ("completed", "incomplete"), answer
    with client.responses.stream(model=MODEL, input="What is the capital of France?", max_output_tokens=12) as events:
        kinds = [event.type for event in events]
        final = events.get_final_response()
    assert kinds[0] == "response.created" and "response.output_text.delta" in kinds, kinds
    assert final.output_text, final
    tool = {"type": "function", "strict": False, **WEATHER["function"]}
    called = client.responses.create(
        model=MODEL, input="What is the weather?", tools=[tool], tool_choice="required", max_output_tokens=60
    )
    calls = [item for item in called.output if item.type == "function_call"]
    assert json.loads(calls[0].arguments)["city"] in ("Paris", "Rome"), called


def completions():
    answer = client.completions.create(model=MODEL, prompt="The capital of France is", max_tokens=8)
    assert answer.choices[0].text and answer.object == "text_completion", answer
    pieces = list(client.completions.create(model=MODEL, prompt="The capital of France is", max_tokens=8, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices), pieces


def embeddings():
    if EMBEDDINGS == "-":
        return
    # The SDK asks for base64 by itself.
    answer = client.embeddings.create(model=EMBEDDINGS, input=["one", "two"])
    plain = client.embeddings.create(model=EMBEDDINGS, input="one", encoding_format="float")
    assert len(answer.data) == 2 and len(answer.data[0].embedding) == len(plain.data[0].embedding) > 10, answer
    near = zip(answer.data[0].embedding, plain.data[0].embedding)
    assert all(abs(one - other) < 1e-3 for one, other in near), "base64 and floats differ"


def models():
    names = [model.id for model in client.models.list()]
    assert MODEL in names, names
    assert client.models.retrieve(MODEL).id == MODEL


def mistakes():
    for call, kind, code in [
        (lambda: client.chat.completions.create(model="nobody", messages=ASK), openai.NotFoundError, "model_not_found"),
        (lambda: client.models.retrieve("nobody"), openai.NotFoundError, "model_not_found"),
        (lambda: client.chat.completions.create(model=7, messages=ASK), openai.BadRequestError, "invalid_request"),
    ]:
        try:
            call()
        except kind as error:
            assert error.code == code and error.body["message"], error.body
        else:
            raise AssertionError(f"{kind} was expected")


for case in (chat, stream, stream_helper, tools, schema, responses, completions, embeddings, models, mistakes):
    case()
    print("ok", case.__name__, flush=True)
