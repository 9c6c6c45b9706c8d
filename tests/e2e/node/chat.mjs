// Chat completions with OpenAI's SDK. Told in the environment whom to ask and how; tells on its last line what came.
import OpenAI from "openai";

const { baseURL, apiKey, headers, model, prompts, toolResult } = JSON.parse(process.env.GIVEN);
const client = new OpenAI({ baseURL: `${baseURL}/v1`, apiKey, defaultHeaders: headers, maxRetries: 0 });
const saying = (content) => ({ model, messages: [{ role: "user", content }] });

const blocking = await client.chat.completions.create(saying(prompts.blocking));

let begun = "";
const aborted = await client.chat.completions.create({ ...saying(prompts.aborted), stream: true });
for await (const chunk of aborted) {
  begun += chunk.choices[0].delta.content;
  if (begun) aborted.controller.abort();
}

const parameters = { type: "object", properties: { city: { type: "string" } } };
const asked = saying(prompts.tool);
asked.tools = [{ type: "function", function: { name: "get_weather", description: "the weather", parameters } }];
asked.stream_options = { include_usage: true };
const calling = await client.chat.completions.stream(asked).finalMessage();
const [call] = calling.tool_calls;
asked.messages.push(calling, { role: "tool", tool_call_id: call.id, content: toolResult });
const answered = await client.chat.completions.stream(asked).finalMessage();

const error = await client.chat.completions.create(saying(prompts.refused)).catch((refusal) => refusal);

console.log(
  JSON.stringify({
    blocking: blocking.choices[0].message.content,
    begun,
    call: [call.id, call.function.name, JSON.parse(call.function.arguments)],
    answered: answered.content,
    error: [error instanceof OpenAI.RateLimitError, error.status, error.type, error.message],
  }),
);
