import { BodyDecoder } from '../../../sidecar/http1/body.ts';
import type { Fields } from '../../../sidecar/http1/fields.ts';
import { HeadBuffer } from '../../../sidecar/http1/headBuffer.ts';
import { type MalformedCode, MalformedMessage } from '../../../sidecar/http1/malformed.ts';
import type { RequestHead } from '../../../sidecar/http1/message.ts';
import { parseRequestHead } from '../../../sidecar/http1/requestHead.ts';
import { chunkHead, lastChunk, requestHead } from '../../../sidecar/http1/writer.ts';
import { HEAD_LIMIT_BYTES } from './corpus.ts';

export interface ReadRequest {
  readonly head: RequestHead;
  readonly body: Buffer;
  readonly trailers: Fields | undefined;
}

export interface ReadRequests {
  readonly requests: readonly ReadRequest[];
  /** `idle`: between two; `partial`: within one; `over`: nothing after the last one is a request (close, CONNECT, upgrade). */
  readonly end: 'idle' | 'partial' | 'over' | MalformedCode;
}

/** What our codec makes of a client's bytes, as they come in these chunks. @throws anything that is no MalformedMessage */
export function readRequests(chunks: Iterable<Buffer>): ReadRequests {
  const reader = new RequestReader();
  try {
    for (const chunk of chunks) reader.push(chunk);
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error;
    return { requests: reader.requests, end: error.code };
  }
  return { requests: reader.requests, end: reader.state };
}

class RequestReader {
  readonly requests: ReadRequest[] = [];
  readonly #head = new HeadBuffer(HEAD_LIMIT_BYTES);
  #current: { head: RequestHead; body: BodyDecoder; pieces: Buffer[] } | undefined;
  #over = false;

  get state(): 'idle' | 'partial' | 'over' {
    if (this.#over) return 'over';
    return this.#current === undefined && this.#head.empty ? 'idle' : 'partial';
  }

  push(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0 && !this.#over)
      rest = this.#current === undefined ? this.#readHead(rest) : this.#readBody(rest);
  }

  #readHead(chunk: Buffer): Buffer {
    if (!this.#head.push(chunk)) return NOTHING;
    const { bytes, headStart, headEnd } = this.#head;
    const head = parseRequestHead(bytes, headStart, headEnd);
    this.#head.reset();
    this.#current = { head, body: new BodyDecoder(head.framing), pieces: [] };
    // A request without a body is over at once, also when nothing follows.
    return this.#readBody(bytes.subarray(headEnd));
  }

  #readBody(chunk: Buffer): Buffer {
    const { head, body, pieces } = this.#current!;
    const end = body.decode(chunk, 0, (piece) => pieces.push(Buffer.from(piece)));
    if (body.done) {
      this.requests.push({ head, body: Buffer.concat(pieces), trailers: body.trailers });
      this.#current = undefined;
      this.#over = !head.keepAlive || head.method === 'CONNECT' || head.upgrade !== undefined;
    }
    return chunk.subarray(end);
  }
}

const NOTHING = Buffer.alloc(0);

/** What is sent upstream for what was read: one authority, one target, framing from what was understood; CONNECT is not sent. */
export function rebuild({ head, body, trailers }: ReadRequest): Buffer {
  if (head.method === 'CONNECT') return NOTHING;
  const { target, host } = destination(head);
  const { method, fields, framing, upgrade, expectContinue } = head;
  const bytes = requestHead({ method, target, host, fields, framing, upgrade, expectContinue });
  if (framing.kind !== 'chunked') return Buffer.concat([bytes, body]);
  const chunk = body.length === 0 ? [] : [chunkHead(body.length), body, Buffer.from('\r\n')];
  return Buffer.concat([bytes, ...chunk, lastChunk(trailers)]);
}

/** As the sidecar does it: of an absolute target the authority becomes Host, and the rest the target. */
export function destination(head: RequestHead): { target: string; host: string } {
  if (head.target.startsWith('/') || head.target === '*')
    return { target: head.target, host: head.host ?? 'a.example' };
  const start = head.target.indexOf('://') + 3;
  const end = start + head.target.slice(start).search(/[/?]|$/);
  const rest = head.target.slice(end);
  return { target: rest.startsWith('/') ? rest : `/${rest}`, host: head.target.slice(start, end) };
}

/** All that was read, to compare. */
export function describeRequests({ requests, end }: ReadRequests): unknown {
  return {
    end,
    requests: requests.map(({ head, body, trailers }) => ({
      ...head,
      fields: lines(head.fields),
      body: body.toString('latin1'),
      trailers: trailers && lines(trailers),
    })),
  };
}

export function lines(fields: Fields): string[] {
  return fields.names.map((name, at) => `${name}: ${fields.values[at]}`);
}
