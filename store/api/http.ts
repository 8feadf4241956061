import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import Fastify, {
  type ConnectionError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerFactory,
} from 'fastify';
import type { ZodType } from 'zod';
import { MATERIAL_CONTENT_TYPE, MATERIAL_LIMIT_BYTES } from '../../api/fields.ts';
import { LabelName } from '../../api/metadata.ts';
import type { StoreError } from '../../api/protocol.ts';
import { JSON_LIMIT_BYTES } from '../../api/protocolSchema.ts';
import { errorCode, errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { STORE_ERRORS, type StoreErrorCode, storeError, storeErrorCode } from '../errors.ts';
import type { StoreMetrics } from '../metrics/storeMetrics.ts';
import { readMaterial } from './materialBody.ts';

/** Fastify's own errors as ours; what is in neither list is a failure of the store. */
const FASTIFY_ERRORS: Readonly<Record<string, StoreErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'TooLarge',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'MalformedRequest',
  FST_ERR_CTP_INVALID_JSON_BODY: 'MalformedRequest',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'MalformedRequest',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'MalformedRequest',
  FST_ERR_BAD_URL: 'MalformedRequest',
};
/** Errors of Node's HTTP server before there is a request. */
const PARSER_ERRORS: Readonly<Record<string, StoreErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'TooLarge',
  ERR_HTTP_REQUEST_TIMEOUT: 'RequestTimeout',
};
/** When to come back, at random, so that those who were sent away together do not come back together. */
const RETRY_AFTER_SECONDS = 1;
const RETRY_AFTER_SPREAD_SECONDS = 3;
/** How long an answer to whoever asks too much is held back at the most. */
const HOLD_MS = 1_000;

/** A fastify instance that speaks JSON and material frames and answers every failure as a StoreError, without internal text. */
export function createHttp(options: {
  serverFactory: FastifyServerFactory;
  log: Logger;
  metrics?: StoreMetrics | undefined;
}): FastifyInstance {
  const { log, metrics, serverFactory } = options;
  const app = Fastify({ serverFactory, clientErrorHandler, bodyLimit: JSON_LIMIT_BYTES, exposeHeadRoutes: false });
  app.removeContentTypeParser('text/plain');
  app.addContentTypeParser(MATERIAL_CONTENT_TYPE, (_request: FastifyRequest, payload: IncomingMessage) =>
    readMaterial(payload, MATERIAL_LIMIT_BYTES),
  );
  app.setNotFoundHandler(() => {
    throw storeError('NotFound', 'The store has no such route.');
  });
  app.setErrorHandler(async (error, request, reply) => {
    // Whoever asks too much waits for the answer, so that it costs nobody else much, however soon it asks again.
    if (storeErrorCode(error) === 'TooManyRequests' && reply.getHeader('connection') !== 'close')
      await delay(HOLD_MS * (0.5 + 0.5 * Math.random()));
    return answerError(error, request, reply, { log, metrics });
  });
  if (metrics !== undefined)
    app.addHook('onResponse', async ({ method, routeOptions }, reply) =>
      metrics.request(method, routeOptions.url ?? 'none', reply.raw.statusCode, reply.elapsedTime / 1000),
    );
  return app;
}

/** @throws MalformedRequest that names the field and what was expected of it. */
export function parse<T>(schema: ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const at = issue.path.length === 0 ? 'the body' : issue.path.join('.');
  throw storeError('MalformedRequest', `${at}: ${issue.message}`);
}

/** `namespace/name` from the path of a request. @throws MalformedRequest */
export function objectKeyOf(request: FastifyRequest): string {
  const { namespace, name } = request.params as { namespace: string; name: string };
  for (const part of [namespace, name]) {
    if (!LabelName.safeParse(part).success)
      throw storeError('MalformedRequest', 'The path must hold a namespace and a name in lower case.');
  }
  return `${namespace}/${name}`;
}

/** The material frame that a request came with. @throws MalformedRequest */
export function materialOf(request: FastifyRequest): Buffer {
  if (Buffer.isBuffer(request.body)) return request.body;
  throw storeError('MalformedRequest', `Material comes as ${MATERIAL_CONTENT_TYPE}.`);
}

/** Answers what never became a request. */
function clientErrorHandler(error: ConnectionError, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const code = PARSER_ERRORS[error.code] ?? 'MalformedRequest';
  const { status, help } = STORE_ERRORS[code];
  const body = JSON.stringify({ code, message: help } satisfies StoreError);
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

function answerError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  { log, metrics }: { log: Logger; metrics: StoreMetrics | undefined },
): FastifyReply {
  if (Buffer.isBuffer(request.body)) request.body.fill(0);
  const code =
    storeErrorCode(error) ??
    FASTIFY_ERRORS[errorCode(error) ?? ''] ??
    (isCutShort(error, request) ? 'MalformedRequest' : 'InternalError');
  const { status, retryable } = STORE_ERRORS[code];
  metrics?.refused(code);
  if (status >= 500) {
    const cause = (error as { cause?: unknown }).cause;
    log.error(
      {
        code,
        route: request.routeOptions.url,
        error: errorText(error),
        ...(cause !== undefined && { cause: errorText(cause) }),
      },
      'a request failed',
    );
  }
  const message = storeErrorCode(error) === undefined ? STORE_ERRORS[code].help : errorText(error);
  if (retryable && (status === 429 || status === 503)) reply.header('retry-after', retryAfterSeconds(error));
  return reply
    .code(status === 0 ? 500 : status)
    .type('application/json')
    .send({ code, message } satisfies StoreError);
}

/** Whether the client has left in the middle of its request: nobody hears the answer, and it is no failure of ours. */
function isCutShort(error: unknown, { raw }: FastifyRequest): boolean {
  return errorCode(error) === 'ECONNRESET' && !raw.complete;
}

function retryAfterSeconds(error: unknown): number {
  const { retryAfterSeconds } = error as { retryAfterSeconds?: unknown };
  if (typeof retryAfterSeconds === 'number') return Math.ceil(retryAfterSeconds);
  return RETRY_AFTER_SECONDS + Math.floor(Math.random() * RETRY_AFTER_SPREAD_SECONDS);
}
