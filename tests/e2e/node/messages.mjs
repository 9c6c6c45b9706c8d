// Messages with Anthropic's SDK. Told in the environment whom to ask and how; tells on its last line what came.
import Anthropic from "@anthropic-ai/sdk";

const { baseURL, apiKey, headers, model, prompts, toolResult } = JSON.parse(process.env.GIVEN);
const client = new Anthropic({ baseURL, apiKey, defaultHeaders: headers, maxRetries: 0 });
const saying = (content) => ({ model, max_tokens: 100, messages: [{ role: "user", content }] });
const text = (message) => message.content.find((block) => block.type === "text").text;

const blocking = await client.messages.create(saying(prompts.blocking));

let begun = "";
const aborted = await client.messages.create({ ...saying(prompts.aborted), stream: true });
for await (const event of aborted) {
  if (event.type === "content_block_delta" && event.delta.type === "text_delta") begun += event.delta.text;
  if (begun) aborted.controller.abort();
}

const input_schema = { type: "object", properties: { city: { type: "string" } } };
const asked = saying(prompts.tool);
asked.tools = [{ name: "get_weather", description: "the weather", input_schema }];
const calling = await client.messages.stream(asked).finalMessage();
const call = calling.content.find((block) => block.type === "tool_use");
const result = { type: "tool_result", tool_use_id: call.id, content: toolResult };
asked.messages.push({ role: "assistant", content: calling.content }, { role: "user", content: [result] });
const answered = await client.messages.stream(asked).finalMessage();

const error = await client.messages.create(saying(prompts.refused)).catch((refusal) => refusal);

console.log(
  JSON.stringify({
    blocking: text(blocking),
    begun,
    call: [call.id, call.name, call.input],
    answered: text(answered),
    error: [error instanceof Anthropic.RateLimitError, error.status, error.type, error.message],
  }),
);
