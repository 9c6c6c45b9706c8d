// Responses with OpenAI's SDK. Told in the environment whom to ask and how; tells on its last line what came.
import OpenAI from "openai";

const { baseURL, apiKey, headers, model, prompts, toolResult } = JSON.parse(process.env.GIVEN);
const client = new OpenAI({ baseURL: `${baseURL}/v1`, apiKey, defaultHeaders: headers, maxRetries: 0 });
const saying = (content) => ({ model, input: [{ role: "user", content }] });

const blocking = await client.responses.create(saying(prompts.blocking));

let begun = "";
const aborted = await client.responses.create({ ...saying(prompts.aborted), stream: true });
for await (const event of aborted) {
  if (event.type === "response.output_text.delta") begun += event.delta;
  if (begun) aborted.controller.abort();
}

const parameters = { type: "object", properties: { city: { type: "string" } } };
const asked = saying(prompts.tool);
asked.tools = [{ type: "function", name: "get_weather", parameters, strict: false }];
const calling = await client.responses.stream(asked).finalResponse();
const call = calling.output.find((item) => item.type === "function_call");
asked.input.push(...calling.output, { type: "function_call_output", call_id: call.call_id, output: toolResult });
const answered = await client.responses.stream(asked).finalResponse();

const error = await client.responses.create(saying(prompts.refused)).catch((refusal) => refusal);

console.log(
  JSON.stringify({
    blocking: blocking.output_text,
    begun,
    call: [call.call_id, call.name, JSON.parse(call.arguments)],
    answered: answered.output_text,
    error: [error instanceof OpenAI.RateLimitError, error.status, error.type, error.message],
  }),
);
