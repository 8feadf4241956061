import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { bearerOf, contentTypeOf, json, LookAlike, pathOf, shortened, textOf } from './lookAlike.ts';
import type { UpstreamTls } from './tls.ts';

const MODELS = ['gpt-look-alike', 'gpt-look-alike-mini'];
const ROLES = new Set(['developer', 'system', 'user', 'assistant', 'tool']);

interface ChatRequest {
  model: string;
  messages: { role: string; content: unknown }[];
  stream: boolean;
  includeUsage: boolean;
}

/** A look-alike of api.openai.com: chat completions (whole and streamed) and models, with its error shapes. */
export class OpenAi extends LookAlike {
  /** The one key that is taken; set another to rotate. */
  key: string;
  /** Pause before each streamed token. */
  tokenDelayMs: number;
  /** The key of the last request, right or wrong; undefined if it had none. */
  lastKey: string | undefined;

  constructor(options: { key: string; tls?: UpstreamTls | undefined; tokenDelayMs?: number }) {
    super(options);
    this.key = options.key;
    this.tokenDelayMs = options.tokenDelayMs ?? 0;
  }

  protected override async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('x-request-id', `req_${randomBytes(16).toString('hex')}`);
    this.lastKey = bearerOf(request);
    if (this.lastKey === undefined) {
      return refuse(
        response,
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
      );
    }
    if (this.lastKey !== this.key) {
      const message = `Incorrect API key provided: ${shortened(this.lastKey)}. You can find your API key at https://platform.openai.com/account/api-keys.`;
      return refuse(response, 401, message, 'invalid_api_key');
    }
    const route = `${request.method} ${pathOf(request)}`;
    if (route === 'GET /v1/models') {
      const data = MODELS.map((id) => ({ id, object: 'model', created: 1_700_000_000, owned_by: 'look-alike' }));
      return json(response, 200, { object: 'list', data });
    }
    if (route === 'POST /v1/chat/completions') return this.#chat(request, response);
    const message = `Invalid URL (${route})`;
    return refuse(response, 404, message);
  }

  async #chat(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const type = contentTypeOf(request);
    if (type !== 'application/json') {
      const message = `Unsupported content type: '${type}'. This API method only accepts 'application/json' requests, but you specified the header 'Content-Type: ${type}'. Please try again with a supported content type.`;
      return refuse(response, 400, message, 'unsupported_content_type');
    }
    const chat = parseChat(await textOf(request));
    if (typeof chat === 'string') return refuse(response, 400, chat);
    const question = chat.messages.at(-1)!.content;
    const tokens = ['You', ' asked', ': ', ...String(question).split(/(?=\s)/)];
    const about = {
      id: `chatcmpl-${randomBytes(12).toString('hex')}`,
      created: Math.floor(Date.now() / 1000),
      model: chat.model,
    };
    const usage = {
      prompt_tokens: chat.messages.length,
      completion_tokens: tokens.length,
      total_tokens: chat.messages.length + tokens.length,
    };
    if (chat.stream) return this.#stream(response, about, tokens, chat.includeUsage ? usage : undefined);
    const message = { role: 'assistant', content: tokens.join(''), refusal: null, annotations: [] };
    const choices = [{ index: 0, message, logprobs: null, finish_reason: 'stop' }];
    json(response, 200, { ...about, object: 'chat.completion', choices, usage, system_fingerprint: null });
  }

  async #stream(
    response: ServerResponse,
    about: object,
    tokens: readonly string[],
    usage: object | undefined,
  ): Promise<void> {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' });
    const send = (choices: object[], more: object = {}) =>
      response.write(`data: ${JSON.stringify({ ...about, object: 'chat.completion.chunk', choices, ...more })}\n\n`);
    const choice = (delta: object, finish_reason: string | null = null) => [
      { index: 0, delta, logprobs: null, finish_reason },
    ];
    send(choice({ role: 'assistant', content: '', refusal: null }));
    for (const content of tokens) {
      if (this.tokenDelayMs > 0) await sleep(this.tokenDelayMs);
      if (response.destroyed) return;
      send(choice({ content }));
    }
    send(choice({}, 'stop'));
    if (usage !== undefined) send([], { usage });
    response.end('data: [DONE]\n\n');
  }
}

function refuse(response: ServerResponse, status: number, message: string, code: string | null = null): void {
  json(response, status, { error: { message, type: 'invalid_request_error', param: null, code } });
}

/** A string says what is wrong with it. */
function parseChat(text: string): ChatRequest | string {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return 'We could not parse the JSON body of your request. (HINT: This likely means you aren’t using your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)';
  }
  const { model, messages, stream = false, stream_options: options } = (body ?? {}) as Record<string, unknown>;
  if (typeof model !== 'string' || model === '') return 'you must provide a model parameter';
  if (!Array.isArray(messages) || messages.length === 0) return "Missing required parameter: 'messages'.";
  for (const [i, message] of (messages as Record<string, unknown>[]).entries()) {
    if (!ROLES.has(String(message?.role))) return `Invalid value for 'messages[${i}].role'.`;
    if (message?.content === undefined) return `Missing required parameter: 'messages[${i}].content'.`;
  }
  if (typeof stream !== 'boolean') return "Invalid type for 'stream': expected a boolean.";
  const includeUsage = (options as { include_usage?: unknown } | undefined)?.include_usage === true;
  return { model, messages, stream, includeUsage };
}
