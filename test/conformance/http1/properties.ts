import { chunkHead, lastChunk, responseHead } from '../../../sidecar/http1/writer.ts';
import { HEAD_LIMIT_BYTES } from './corpus.ts';
import type { Input } from './mutator.ts';
import { describeRequests, destination, lines, type ReadRequest, readRequests, rebuild } from './readRequests.ts';
import { type ReadResponse, readResponse } from './readResponse.ts';
import { reusing } from './splits.ts';

/** What is rebuilt may be a little longer than what was read. */
const REBUILDABLE_LIMIT_BYTES = HEAD_LIMIT_BYTES / 2;
const ENOUGH_MS = 1_000;

/** RFC 9112 as far as a regular expression can tell: what is taken must be of this form, whatever our own tables say. */
const REQUEST_HEAD =
  /^[\w!#$%&'*+.^`|~-]{1,32} [!"$-~]+ HTTP\/1\.[01]\r\n(?:[\w!#$%&'*+.^`|~-]+:[\t\x20-\x7e\x80-\xff]*\r\n){0,100}\r\n$/;

/**
 * What must hold of the codec for any bytes. `cuts`: places to cut them at, in order.
 *
 * @throws Error that says which does not
 */
export function checkProperties({ message, answers }: Input, cuts: readonly number[]): void {
  const start = performance.now();
  const read = (chunks: Iterable<Buffer>): string =>
    JSON.stringify(answers === undefined ? describeRequests(readRequests(chunks)) : readResponse(chunks, answers));
  // Anything thrown that is no MalformedMessage comes through here.
  const whole = read([bytesOf(message)]);
  for (const chunks of [cut(message, cuts), Array.from(message, bytesOf)]) {
    if (chunks.length === 0) continue;
    const split = read(reusing(chunks));
    if (split !== whole) throw new Error(`means something else when it is cut:\n${whole}\n${split}`);
  }
  if (answers === undefined) checkTaken(message);
  if (message.length < REBUILDABLE_LIMIT_BYTES) {
    if (answers === undefined) checkRequestsRebuilt(message);
    else checkResponseRebuilt(message, answers);
  }
  if (performance.now() - start > ENOUGH_MS) throw new Error('takes too long');
}

function checkTaken(message: string): void {
  for (const { head } of readRequests([bytesOf(message)]).requests) {
    const count = (name: string): number => head.text.split(new RegExp(`^${name}:`, 'im')).length - 1;
    const lengths = count('content-length') + count('transfer-encoding');
    if (!REQUEST_HEAD.test(head.text)) throw new Error('is taken though it is no request head');
    if (lengths > 1) throw new Error('is taken though its length is ambiguous');
    if (count('host') > 1 || (head.minorVersion === 1 && head.host === undefined))
      throw new Error('is taken without one Host');
  }
}

function checkRequestsRebuilt(message: string): void {
  const { requests } = readRequests([bytesOf(message)]);
  const sent = requests.filter(({ head }) => head.method !== 'CONNECT');
  for (const request of sent) {
    const rebuilt = rebuild(request);
    const again = readRequests([rebuilt]);
    const [first] = again.requests;
    if (again.requests.length !== 1 || !/idle|over/.test(again.end) || first === undefined) {
      throw new Error(`is not read as one request once it is rebuilt: ${again.end}`);
    }
    if (!rebuild(first).equals(rebuilt)) throw new Error('is rebuilt to something else a second time');
    const [before, after] = [meaning(request), meaning(first)];
    if (before !== after) throw new Error(`means something else once it is rebuilt:\n${before}\n${after}`);
  }
}

function meaning({ head, body, trailers }: ReadRequest): string {
  const { method, fields, framing, upgrade, expectContinue } = head;
  const sentTrailers = trailers && lines(trailers);
  const all = { method, ...destination(head), fields: lines(fields), framing, upgrade, expectContinue, sentTrailers };
  return JSON.stringify({ ...all, body: body.toString('latin1') });
}

function checkResponseRebuilt(message: string, answers: string): void {
  const response = readResponse([bytesOf(message)], answers);
  if (response === undefined) return;
  const rebuilt = rebuildResponse(response);
  const again = readResponse([rebuilt], answers);
  if (again === undefined) throw new Error('is refused once it is rebuilt');
  if (!rebuildResponse(again).equals(rebuilt)) throw new Error('is rebuilt to something else a second time');
  const [before, after] = [meaningOfResponse(response), meaningOfResponse(again)];
  if (before !== after) throw new Error(`means something else once it is rebuilt:\n${before}\n${after}`);
}

function rebuildResponse({ head, body, trailers }: ReadResponse): Buffer {
  const { status, reason, fields, framing, keepAlive, upgrade } = head;
  const length = fields.get('content-length');
  const extra = length === undefined ? undefined : `Content-Length: ${length}\r\n`;
  const bytes = responseHead({ status, reason, fields, framing, close: !keepAlive, upgrade, extra });
  const payload = bytesOf(body);
  if (framing.kind !== 'chunked') return Buffer.concat([bytes, payload]);
  const chunk = payload.length === 0 ? [] : [chunkHead(payload.length), payload, bytesOf('\r\n')];
  return Buffer.concat([bytes, ...chunk, lastChunk(trailers)]);
}

function meaningOfResponse({ head, body, trailers }: ReadResponse): string {
  const { status, reason, fields, framing, keepAlive, upgrade } = head;
  const kept = lines(fields).filter((line) => !/^content-length:/i.test(line));
  const length = fields.get('content-length');
  const sentTrailers = trailers && lines(trailers);
  return JSON.stringify({ status, reason, kept, length, framing, keepAlive, upgrade, body, sentTrailers });
}

function bytesOf(message: string): Buffer {
  return Buffer.from(message, 'latin1');
}

function cut(message: string, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((at) => Math.min(at, message.length)), message.length];
  return places.slice(1).map((end, n) => bytesOf(message.slice(places[n], end)));
}
