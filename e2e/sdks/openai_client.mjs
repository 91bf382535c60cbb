// OpenAI's SDK for Node against a gateway. Any warning is a failure.
// Arguments: the base URL, the name of a chat model, the name of an embeddings model.

import assert from "node:assert/strict";
import process from "node:process";
import OpenAI, { NotFoundError } from "openai";

process.on("warning", (warning) => {
  throw warning;
});
const [url, model, embeddings] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", maxRetries: 0, timeout: 120_000 });
const messages = [{ role: "user", content: "What is the capital of France?" }];
const weather = {
  name: "weather",
  description: "Tells the weather of a city",
  parameters: {
    type: "object",
    properties: { city: { type: "string", enum: ["Paris", "Rome"] } },
    required: ["city"],
    additionalProperties: false,
  },
};
const tools = [{ type: "function", function: weather }];

const cases = {
  async chat() {
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 12 });
    assert.ok(answer.choices[0].message.content);
    assert.ok(answer.usage.prompt_tokens > 0);
  },
  async stream() {
    let text = "";
    for await (const chunk of await client.chat.completions.create({ model, messages, max_tokens: 12, stream: true })) {
      assert.equal(chunk.usage ?? null, null);
      text += chunk.choices[0]?.delta?.content ?? "";
    }
    assert.ok(text);
    const final = await client.chat.completions.stream({ model, messages, max_tokens: 12 }).finalContent();
    assert.ok(final);
  },
  async tools() {
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 60, tools, tool_choice: "required" });
    const call = answer.choices[0].message.tool_calls[0];
    assert.equal(call.function.name, "weather");
    assert.ok(["Paris", "Rome"].includes(JSON.parse(call.function.arguments).city));
  },
  async responses() {
    const answer = await client.responses.create({ model, input: "What is the capital of France?", max_output_tokens: 12 });
    assert.ok(answer.output_text);
    const kinds = [];
    const events = await client.responses.create({ model, input: "Hello", max_output_tokens: 12, stream: true });
    for await (const event of events) kinds.push(event.type);
    assert.equal(kinds[0], "response.created");
    assert.ok(kinds.includes("response.output_text.delta"), kinds.join());
  },
  async embeddings() {
    const answer = await client.embeddings.create({ model: embeddings, input: ["one", "two"] });
    assert.equal(answer.data.length, 2);
    assert.ok(answer.data[0].embedding.length > 10);
  },
  async mistakes() {
    await assert.rejects(client.chat.completions.create({ model: "nobody", messages }), (error) => {
      assert.ok(error instanceof NotFoundError);
      assert.equal(error.code, "model_not_found");
      return true;
    });
  },
};

for (const [name, run] of Object.entries(cases)) {
  await run();
  console.log("ok", name);
}
