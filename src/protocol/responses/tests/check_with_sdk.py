"""Reads what `examples_for_the_sdks` wrote with the types of OpenAI's own SDK, strictly, and then as its clients do. By hand:

    python3 -m venv /tmp/sdk && /tmp/sdk/bin/pip install openai
    RESPONSES_OUT=/tmp/examples cargo test --lib -- --ignored examples_for_the_sdks
    /tmp/sdk/bin/python check_with_sdk.py /tmp/examples
"""

import json
import pathlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import openai
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

EVENT = TypeAdapter(ResponseStreamEvent)
FOLDER = pathlib.Path(sys.argv[1])


def unknown_fields(value, where):
    """Fields that the SDK's types do not have: it keeps them aside."""
    found = []
    if hasattr(value, "model_extra"):
        found += [f"{where}.{name}" for name in (value.model_extra or {})]
        for name in type(value).model_fields:
            found += unknown_fields(getattr(value, name), f"{where}.{name}")
    elif isinstance(value, list):
        for item in value:
            found += unknown_fields(item, f"{where}[]")
    return found


def events(text):
    for block in text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        data = data.removeprefix("data: ")
        assert json.loads(data)["type"] == name.removeprefix("event: ")
        yield data


def read(path):
    if path.suffix == ".json":
        return [Response.model_validate_json(path.read_bytes(), strict=True)]
    return [EVENT.validate_json(data, strict=True) for data in events(path.read_text())]


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = (FOLDER / self.headers["x-file"]).read_bytes()
        kind = "text/event-stream" if self.headers["x-file"].endswith(".sse") else "application/json"
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="x", max_retries=0)


def as_a_client(path):
    ask = {"model": "m", "input": "hi", "extra_headers": {"x-file": path.name}}
    if path.suffix == ".json":
        response = client.responses.create(**ask)
        return f"{response.status} {response.output_text!r} {[item.type for item in response.output]}"
    try:
        with client.responses.stream(**ask) as stream:
            for _ in stream:
                pass
            response = stream.get_final_response()
            return f"{response.status} {response.output_text!r} {[item.type for item in response.output]}"
    except (openai.APIError, RuntimeError) as e:
        return f"{type(e).__name__}: {e}"


print("openai", openai.__version__)
for path in sorted(FOLDER.iterdir()):
    read_strictly = read(path)
    unknown = sorted({field for value in read_strictly for field in unknown_fields(value, type(value).__name__)})
    print(f"{path.name:22} {len(read_strictly):3} strict  {as_a_client(path)}  {unknown or ''}")
