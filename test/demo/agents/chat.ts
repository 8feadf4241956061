/**
 * An agent as people write them: the openai SDK with its default base URL and the key of its environment.
 *
 * It asks for a streamed answer each time a line comes on standard input, so that whoever started it can look at it in between.
 */
import { createInterface } from 'node:readline';
import OpenAI from 'openai';

const client = new OpenAI({ maxRetries: 0 });

async function chat(question: string): Promise<string> {
  const stream = await client.chat.completions.create({
    model: 'gpt-look-alike',
    messages: [{ role: 'user', content: question }],
    stream: true,
  });
  let answer = '';
  for await (const part of stream) answer += part.choices[0]?.delta.content ?? '';
  return answer;
}

console.log(JSON.stringify({ pid: process.pid, key: process.env.OPENAI_API_KEY }));
for await (const question of createInterface({ input: process.stdin })) {
  const reply = await chat(question).then(
    (answer) => ({ answer }),
    (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }),
  );
  console.log(JSON.stringify(reply));
}
