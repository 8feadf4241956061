import type { Transform } from 'node:stream';
import { BodyDecoder } from '../http1/body.ts';
import type { Fields } from '../http1/fields.ts';
import {
  BODY_UNTIL_CLOSE,
  CHUNKED_BODY,
  type Framing,
  NO_BODY,
  type RequestHead,
  type ResponseHead,
} from '../http1/message.ts';
import { chunkHead, lastChunk, responseHeadText } from '../http1/writer.ts';
import type { Scrubber } from '../scrub/scrubber.ts';
import type { Outbox } from './outbox.ts';
import { createUnencoder } from './unencoder.ts';

const CRLF = Buffer.from('\r\n');
const CODED: ReadonlySet<string> = new Set(['content-encoding']);

export interface AnswerSink {
  outbox: Outbox;
  /** The whole answer is in the outbox or written. */
  done(): void;
  /** The answer cannot be finished; what was sent of it must be seen to be cut short. */
  failed(error: Error): void;
  /** An asynchronous step made or found room: flush, or read on. */
  progressed(): void;
}

/** An upstream's answer on its way down: rebuilt, looked through for the material, framed for the agent, never held. */
export class Answer {
  readonly head: ResponseHead;
  readonly keepAlive: boolean;
  readonly #decoder: BodyDecoder;
  readonly #framing: Framing;
  readonly #scrubber: Scrubber | undefined;
  readonly #sink: AnswerSink;
  readonly #unencoder: Transform | undefined;

  constructor(
    request: RequestHead,
    head: ResponseHead,
    scrubber: Scrubber | undefined,
    keepAlive: boolean,
    sink: AnswerSink,
  ) {
    this.head = head;
    this.#sink = sink;
    this.#scrubber = scrubber;
    this.#decoder = new BodyDecoder(head.framing);
    const coded = scrubber !== undefined && head.framing.kind !== 'none' && head.fields.has('content-encoding');
    const coding = coded ? codingOf(head.fields) : '';
    if (coding !== '') this.#unencoder = this.#createUnencoder(coding);
    this.#framing = this.#framingFor(request);
    this.keepAlive = keepAlive && this.#framing.kind !== 'close';
  }

  /** Adds the head to the outbox; an answer without a body is done with it. */
  begin(): void {
    const { head } = this;
    const length = head.framing.kind === 'none' && head.status >= 200 ? head.fields.get('content-length') : undefined;
    this.#sink.outbox.addHead(
      responseHeadText({
        status: head.status,
        reason: head.reason,
        fields: head.fields,
        omit: this.#unencoder === undefined ? undefined : CODED,
        framing: this.#framing,
        close: !this.keepAlive,
        // The length that a GET would have had (RFC 9110 section 8.6): all that a HEAD or 304 says of it.
        extra: length === undefined || head.status === 204 ? undefined : `Content-Length: ${length}\r\n`,
      }),
    );
    if (this.#decoder.done) this.#bodyEnded();
  }

  /** How the agent sees where the answer ends. */
  get framing(): Framing {
    return this.#framing;
  }

  /** Whether the upstream has sent all of it. */
  get received(): boolean {
    return this.#decoder.done;
  }

  /** Adds to the outbox what `chunk` from `offset` holds of the body. Returns where the body ends in it. @throws MalformedMessage */
  push(chunk: Buffer, offset: number): number {
    const end = this.#decoder.decode(chunk, offset, this.#piece);
    if (this.#decoder.done) this.#bodyEnded();
    return end;
  }

  /** The upstream's FIN. @throws MalformedMessage if the body is cut short */
  end(): void {
    this.#decoder.end();
    this.#bodyEnded();
  }

  /** Whether pieces given to `push` are read later still, so that they must not be used again. */
  get keepsPieces(): boolean {
    return this.#unencoder !== undefined;
  }

  /** Whether to stop reading the upstream until `progressed`. */
  get congested(): boolean {
    return this.#unencoder?.writableNeedDrain === true;
  }

  pause(): void {
    this.#unencoder?.pause();
  }

  resume(): void {
    this.#unencoder?.resume();
  }

  destroy(): void {
    this.#unencoder?.destroy();
  }

  #framingFor(request: RequestHead): Framing {
    const { kind } = this.head.framing;
    if (kind === 'none') return NO_BODY;
    if (kind === 'length' && this.#unencoder === undefined) return this.head.framing;
    return request.minorVersion === 1 ? CHUNKED_BODY : BODY_UNTIL_CLOSE;
  }

  #createUnencoder(coding: string): Transform {
    // A part of something coded (206) cannot be undone by itself.
    if (this.head.status === 206) throw new UnknownCoding(coding);
    const unencoder = createUnencoder(coding, {
      data: (piece) => {
        this.#scrub(piece);
        this.#sink.progressed();
      },
      end: () => {
        this.#finish();
      },
      error: (error) => this.#sink.failed(error),
      drain: () => this.#sink.progressed(),
    });
    if (unencoder === undefined) throw new UnknownCoding(coding);
    return unencoder;
  }

  readonly #piece = (piece: Buffer): void => {
    if (this.#unencoder !== undefined) this.#unencoder.write(piece);
    else if (this.#scrubber !== undefined) this.#scrub(piece);
    else this.#frame(piece);
  };

  #scrub(piece: Buffer): void {
    this.#scrubber!.push(piece, this.#frame);
  }

  readonly #frame = (piece: Buffer): void => {
    if (piece.length === 0) return;
    const { outbox } = this.#sink;
    if (this.#framing.kind !== 'chunked') {
      outbox.add(piece);
      return;
    }
    outbox.add(chunkHead(piece.length));
    outbox.add(piece);
    outbox.add(CRLF);
  };

  #bodyEnded(): void {
    if (this.#unencoder !== undefined) this.#unencoder.end();
    else this.#finish();
  }

  #finish(): void {
    this.#scrubber?.flush(this.#frame);
    if (this.#framing.kind === 'chunked') this.#sink.outbox.add(lastChunk(this.#cleanTrailers()));
    this.#sink.done();
  }

  /** The trailers, but none of them if one echoes the material: they are outside the payload that the scrubber follows. */
  #cleanTrailers(): Fields | undefined {
    const { trailers } = this.#decoder;
    const scrubber = this.#scrubber;
    if (trailers === undefined || scrubber === undefined) return trailers;
    const echoes = (text: string) => scrubber.head(Buffer.from(text, 'latin1')) > 0;
    return trailers.names.some(echoes) || trailers.values.some(echoes) ? undefined : trailers;
  }
}

/** What was done to the content (RFC 9110 section 8.4), over all fields of the name; empty if nothing was. */
function codingOf({ keys, values }: Fields): string {
  const all = values.filter((_, at) => keys[at] === 'content-encoding');
  const coding = all.join(', ').trim().toLowerCase();
  return coding === 'identity' ? '' : coding;
}

/** An answer whose content coding we cannot undo, so that it cannot be looked through for the material. */
export class UnknownCoding extends Error {
  constructor(coding: string) {
    super(`content coding ${coding.slice(0, 40)}`);
  }
}
