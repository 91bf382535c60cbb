"""What the scripts of both Python SDKs share."""

import json
import sys
import time
import urllib.request

URL, KEY, FAMILY, ENGINE = sys.argv[1:5]
# The same engine with its model's own chat template, and with one whose tool calls it enforces; and one that makes vectors.
CHAT, TOOLS, VECTORS = FAMILY, FAMILY + "-tools", "vectors"
QUESTION = "What is the capital of France?"
ASK = [{"role": "user", "content": QUESTION}]
CITIES = ("Paris", "Rome")
# More than the engine's context of 2048 tokens.
TOO_LONG = [{"role": "user", "content": "word " * 4000}]
NAME, DESCRIPTION = "weather", "Tells the weather of a city"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": list(CITIES)}},
    "required": ["city"],
    "additionalProperties": False,
}


def slots():
    """How many tokens each answer in the making has, on the engine."""
    with urllib.request.urlopen(ENGINE + "/slots", timeout=60) as answer:
        working = [slot for slot in json.load(answer) if slot["is_processing"]]
    return [slot["next_token"][0]["n_decoded"] if slot.get("next_token") else 0 for slot in working]


def engine_stops():
    """After a hang-up: the engine ends long before the answer would have."""
    made, deadline = [], time.monotonic() + 30
    while now := slots():
        made = now
        assert time.monotonic() < deadline, f"the engine still makes what nobody reads: {now} tokens"
        time.sleep(0.1)
    assert all(tokens < 300 for tokens in made), f"the engine went on: {made}"


def raises(kind, call, check):
    """The SDK's own exception, and what it holds."""
    try:
        call()
    except kind as error:
        assert type(error) is kind and error.message and error.request_id, error
        assert error.response.headers["content-type"].startswith("application/json"), error.response.headers
        assert check(error), (error.body, error.message)
    else:
        raise AssertionError(f"{kind} was expected")


def run(*cases):
    for case in cases:
        began = time.monotonic()
        case()
        print("ok", case.__name__, f"{time.monotonic() - began:.1f} s", flush=True)
