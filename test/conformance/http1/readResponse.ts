import { BodyDecoder } from '../../../sidecar/http1/body.ts';
import type { Fields } from '../../../sidecar/http1/fields.ts';
import { HeadBuffer } from '../../../sidecar/http1/headBuffer.ts';
import { MalformedMessage } from '../../../sidecar/http1/malformed.ts';
import type { ResponseHead } from '../../../sidecar/http1/message.ts';
import { parseResponseHead } from '../../../sidecar/http1/responseHead.ts';
import { HEAD_LIMIT_BYTES } from './corpus.ts';

export interface ReadResponse {
  readonly head: ResponseHead;
  /** Statuses of the interim answers before it. */
  readonly interim: readonly number[];
  readonly body: string;
  readonly trailers: Fields | undefined;
  /** What came after it. */
  readonly left: string;
}

/** What our codec makes of an upstream's bytes up to its FIN, as they come in these chunks; undefined if it refuses them. */
export function readResponse(chunks: Iterable<Buffer>, requestMethod: string): ReadResponse | undefined {
  const reader = new ResponseReader(requestMethod);
  try {
    for (const chunk of chunks) reader.push(chunk);
    return reader.end();
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error;
    return undefined;
  }
}

class ResponseReader {
  readonly #requestMethod: string;
  readonly #headBuffer = new HeadBuffer(HEAD_LIMIT_BYTES);
  readonly #interim: number[] = [];
  #head: ResponseHead | undefined;
  #decoder: BodyDecoder | undefined;
  #body = '';
  #left = '';

  constructor(requestMethod: string) {
    this.#requestMethod = requestMethod;
  }

  push(chunk: Buffer): void {
    let rest = chunk;
    while (this.#decoder === undefined && this.#headBuffer.push(rest)) rest = this.#readHead();
    if (this.#decoder === undefined) return;
    const end = this.#decoder.decode(rest, 0, (piece) => {
      this.#body += piece.toString('latin1');
    });
    this.#left += rest.toString('latin1', end);
  }

  end(): ReadResponse | undefined {
    if (this.#head === undefined || this.#decoder === undefined) return undefined;
    this.#decoder.end();
    const { trailers } = this.#decoder;
    return { head: this.#head, interim: this.#interim, body: this.#body, trailers, left: this.#left };
  }

  #readHead(): Buffer {
    const { bytes, headEnd } = this.#headBuffer;
    const head = parseResponseHead(bytes, headEnd, this.#requestMethod);
    this.#headBuffer.reset();
    if (head.status < 200 && head.status !== 101) this.#interim.push(head.status);
    else {
      this.#head = head;
      this.#decoder = new BodyDecoder(head.framing);
    }
    return bytes.subarray(headEnd);
  }
}
