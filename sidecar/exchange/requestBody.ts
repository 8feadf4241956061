import { BodyDecoder } from '../http1/body.ts';
import { CHUNKED_BODY, type Framing } from '../http1/message.ts';
import { chunkHead, lastChunk } from '../http1/writer.ts';
import type { BodySubstitution } from '../place/plan.ts';
import type { Outbox } from './outbox.ts';

const CRLF = Buffer.from('\r\n');

/** The agent's body on its way up: decoded, its placeholders replaced if the Integration says so, framed anew, never held. */
export class RequestBody {
  /** How the body is framed upstream: as it came, but chunked where replacing changes its length. */
  readonly framing: Framing;
  /** Whether what comes out of it may hold material. */
  readonly secret: boolean;
  readonly #decoder: BodyDecoder;
  readonly #substitution: BodySubstitution | undefined;
  readonly #outbox: Outbox;
  readonly #omit: ReadonlySet<string> | undefined;

  /** `omit`: lower-case names that the head leaves out for what is placed; as trailers they would come back (data path rule 5). */
  constructor(
    framing: Framing,
    substitution: BodySubstitution | undefined,
    outbox: Outbox,
    omit?: ReadonlySet<string> | undefined,
  ) {
    this.#decoder = new BodyDecoder(framing);
    this.#substitution = framing.kind === 'none' ? undefined : substitution;
    this.secret = this.#substitution !== undefined;
    this.framing = this.secret ? CHUNKED_BODY : framing;
    this.#outbox = outbox;
    this.#omit = omit;
  }

  get done(): boolean {
    return this.#decoder.done;
  }

  /** Adds to the outbox what `chunk` from `offset` holds of the body. Returns where the body ends in it. @throws MalformedMessage */
  push(chunk: Buffer, offset: number): number {
    const end = this.#decoder.decode(chunk, offset, this.#piece);
    if (this.#decoder.done) {
      this.#substitution?.flush(this.#frame);
      if (this.framing.kind === 'chunked') this.#outbox.add(lastChunk(this.#decoder.trailers, this.#omit));
    }
    return end;
  }

  readonly #piece = (piece: Buffer): void => {
    if (this.#substitution === undefined) this.#frame(piece);
    else this.#substitution.push(piece, this.#frame);
  };

  readonly #frame = (piece: Buffer): void => {
    if (piece.length === 0) return;
    if (this.framing.kind !== 'chunked') {
      this.#outbox.add(piece);
      return;
    }
    this.#outbox.add(chunkHead(piece.length));
    this.#outbox.add(piece);
    // Secret pieces are overwritten once written, which must not happen to what is shared.
    this.#outbox.add(this.secret ? Buffer.from(CRLF) : CRLF);
  };
}
