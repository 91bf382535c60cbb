// OpenAI's SDK for Node against a gateway. Any warning is a failure.
// Arguments: the gateway's URL, a key, `openai` or `anthropic` for what the model's server speaks, the engine's URL.

import assert from "node:assert/strict";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI, { AuthenticationError, BadRequestError, NotFoundError } from "openai";

process.on("warning", (warning) => {
  throw warning;
});
const [url, key, family, engine] = process.argv.slice(2);
const settings = { baseURL: `${url}/v1`, maxRetries: 0, timeout: 300_000 };
const client = new OpenAI({ apiKey: key, ...settings });
const { completions } = client.chat;
const [chat, calls, vectors] = [family, `${family}-tools`, "vectors"];
const question = "What is the capital of France?";
const messages = [{ role: "user", content: question }];
const short = { model: chat, messages, max_tokens: 8, temperature: 0 };
const cities = ["Paris", "Rome"];
const schema = {
  type: "object",
  properties: { city: { type: "string", enum: cities } },
  required: ["city"],
  additionalProperties: false,
};
const weather = { name: "weather", description: "Tells the weather of a city", parameters: schema };
const tools = [{ type: "function", function: weather }];
const calling = { model: calls, messages, max_tokens: 60, tools, tool_choice: "required", temperature: 0 };

const collect = async (events) => {
  const all = [];
  for await (const event of events) all.push(event);
  return all;
};

const working = async () => {
  const slots = await (await fetch(`${engine}/slots`)).json();
  return slots.filter((slot) => slot.is_processing).map((slot) => slot.next_token?.[0]?.n_decoded ?? 0);
};

const cases = {
  async chat() {
    const { data, response, request_id } = await completions.create(short).withResponse();
    assert.equal(response.headers.get("x-portfolio-model"), `default/${chat}`);
    assert.ok(request_id);
    assert.ok(data.choices[0].message.content);
    assert.ok(data.usage.prompt_tokens > 8 && data.usage.completion_tokens > 0);
  },
  async stream() {
    const plain = await completions.create(short);
    const chunks = await collect(await completions.create({ ...short, stream: true }));
    for (const chunk of chunks) assert.equal(chunk.usage ?? null, null);
    assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), plain.choices[0].message.content);
    const asked = await collect(await completions.create({ ...short, stream: true, stream_options: { include_usage: true } }));
    assert.deepEqual(asked.at(-1).choices, []);
    assert.equal(asked.at(-1).usage.completion_tokens, plain.usage.completion_tokens);
    assert.equal(await completions.stream(short).finalContent(), plain.choices[0].message.content);
  },
  async tools() {
    const answer = await completions.create(calling);
    const { message, finish_reason } = answer.choices[0];
    const [call] = message.tool_calls;
    assert.equal(call.function.name, "weather");
    assert.equal(finish_reason, "tool_calls");
    assert.ok(cities.includes(JSON.parse(call.function.arguments).city));
    const result = { role: "tool", tool_call_id: call.id, content: "Sunny, 21 degrees" };
    const after = await completions.create({ ...calling, messages: [...messages, message, result] });
    assert.ok(after.usage.prompt_tokens > answer.usage.prompt_tokens);
  },
  async tools_streamed() {
    const stream = completions.stream(calling);
    const done = [];
    stream.on("tool_calls.function.arguments.done", (event) => done.push(event.name));
    const { choices } = await stream.finalChatCompletion();
    assert.deepEqual(done, ["weather"]);
    assert.ok(cities.includes(JSON.parse(choices[0].message.tool_calls[0].function.arguments).city));
    // The helper that calls the function and asks again, once.
    const asked = [];
    const run = (city) => asked.push(city) && "Sunny, 21 degrees";
    const functions = [{ type: "function", function: { ...weather, parse: JSON.parse, function: run } }];
    const runner = completions.runTools({ ...calling, tools: functions, stream: true }, { maxChatCompletions: 1 });
    await runner.done();
    assert.ok(asked.length === 1 && cities.includes(asked[0].city), JSON.stringify(asked));
  },
  async schema() {
    if (family === "anthropic") return; // The engine does not know Anthropic's `output_config`.
    const format = { type: "json_schema", json_schema: { name: "city", strict: true, schema } };
    const answer = await completions.parse({ ...short, max_tokens: 60, response_format: format });
    assert.ok(cities.includes(answer.choices[0].message.parsed.city));
  },
  async responses() {
    const asked = { model: chat, input: question, max_output_tokens: 16, temperature: 0 };
    const answer = await client.responses.create(asked);
    assert.ok(answer.output_text && answer.usage.output_tokens > 0);
    const stream = client.responses.stream(asked);
    const kinds = (await collect(stream)).map((event) => event.type);
    assert.equal(kinds[0], "response.created");
    assert.ok(kinds.includes("response.output_text.delta"), kinds.join());
    assert.equal((await stream.finalResponse()).output_text, answer.output_text);
    const tool = { type: "function", strict: true, ...weather };
    const called = await client.responses.create({ ...asked, model: calls, max_output_tokens: 60, tools: [tool], tool_choice: "required" });
    const call = called.output.find((item) => item.type === "function_call");
    assert.ok(cities.includes(JSON.parse(call.arguments).city));
  },
  async completions() {
    const asked = { model: chat, prompt: "The capital of France is", max_tokens: 8, temperature: 0 };
    const answer = await client.completions.create(asked);
    const pieces = await collect(await client.completions.create({ ...asked, stream: true }));
    assert.equal(pieces.map((piece) => piece.choices[0].text).join(""), answer.choices[0].text);
  },
  async embeddings() {
    // The SDK asks for base64 by itself.
    const answer = await client.embeddings.create({ model: vectors, input: ["one", "two"] });
    const plain = await client.embeddings.create({ model: vectors, input: "one", encoding_format: "float" });
    assert.equal(answer.data.length, 2);
    assert.ok(answer.data[0].embedding.length > 10);
    for (const [i, one] of answer.data[0].embedding.entries()) assert.ok(Math.abs(one - plain.data[0].embedding[i]) < 1e-3);
  },
  async models() {
    const names = (await collect(await client.models.list())).map((model) => model.id);
    assert.ok(names.includes(chat) && names.includes(vectors), names.join());
    assert.equal((await client.models.retrieve(chat)).id, chat);
  },
  async mistakes() {
    const fails = (call, kind, check) =>
      assert.rejects(call, (error) => {
        assert.equal(error.constructor, kind, error.stack);
        assert.ok(error.message && error.requestID && check(error), JSON.stringify(error.error));
        return true;
      });
    const unknown = (error) => error.code === "model_not_found" && error.param === "model";
    await fails(completions.create({ ...short, model: "nobody" }), NotFoundError, unknown);
    await fails(completions.create({ ...short, model: "nobody", stream: true }), NotFoundError, unknown);
    await fails(client.models.retrieve("nobody"), NotFoundError, unknown);
    await fails(completions.create({ ...short, model: 7 }), BadRequestError, (error) => error.type === "invalid_request_error");
    const long = { ...short, messages: [{ role: "user", content: "word ".repeat(4000) }] };
    await fails(completions.create(long), BadRequestError, (error) => error.message.includes("context"));
    const stranger = new OpenAI({ apiKey: "sk-unknown", ...settings });
    await fails(stranger.chat.completions.create(short), AuthenticationError, (error) => error.message.includes("key"));
  },
  async hang_up() {
    const ask = [{ role: "user", content: "Write a very long story about a river." }];
    const stream = await completions.create({ model: chat, messages: ask, max_tokens: 1500, temperature: 0, stream: true });
    let seen = 0;
    for await (const _ of stream) {
      seen += 1;
      if (seen === 2) {
        assert.ok((await working()).length > 0, "an answer in the making");
        break;
      }
    }
    const deadline = performance.now() + 30_000;
    for (let made = await working(); made.length > 0; made = await working()) {
      assert.ok(performance.now() < deadline && made.every((tokens) => tokens < 300), `the engine went on: ${made}`);
      await sleep(100);
    }
  },
  async side_by_side() {
    const began = new Set();
    const one = async (number) => {
      for await (const chunk of await completions.create({ ...short, max_tokens: 24, stream: true })) {
        if (chunk.choices[0].delta.content) began.add(number);
      }
      assert.equal(began.size, 2, "one waits for the other's end");
    };
    await Promise.all([one(1), one(2)]);
  },
};

for (const [name, run] of Object.entries(cases)) {
  const began = performance.now();
  await run();
  console.log("ok", name, ((performance.now() - began) / 1000).toFixed(1), "s");
}
