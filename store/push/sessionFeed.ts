import type { Session } from '../../api/session.ts';
import type { Audience } from './audience.ts';
import type { NdjsonStream } from './ndjsonStream.ts';

/** One reader of a session, and how far it has been told what its audience is told. */
export class SessionFeed {
  readonly session: Session;
  readonly stream: NdjsonStream;
  readonly audience: Audience;
  /** Whether the reader can resume. */
  readonly cursors: boolean;
  #step: number;

  /** `cursor`: as of what the reader saw last, if it says so; empty if it has seen nothing. */
  constructor(options: { session: Session; stream: NdjsonStream; audience: Audience; cursor?: string | undefined }) {
    this.session = options.session;
    this.stream = options.stream;
    this.audience = options.audience;
    this.cursors = options.cursor !== undefined;
    const { lines, step } = this.audience.open(options.cursor);
    this.#step = step;
    this.stream.write(lines);
  }

  /** Tells what has not been told yet; false if there is nothing. */
  advance(): boolean {
    const { step } = this.audience;
    if (this.#step === step) return false;
    this.stream.write(this.audience.since(this.#step, this.cursors));
    this.#step = step;
    return true;
  }
}
