import { HeadBuffer } from '../http1/headBuffer.ts';
import { MalformedMessage } from '../http1/malformed.ts';
import type { RequestHead, ResponseHead } from '../http1/message.ts';
import { parseResponseHead } from '../http1/responseHead.ts';
import { interimHead } from '../http1/writer.ts';
import type { Scrubber } from '../scrub/scrubber.ts';
import type { UpstreamConnection, UpstreamHandler } from '../upstream/upstreams.ts';
import type { AgentSide } from './agentSide.ts';
import { Answer, type AnswerSink, UnknownCoding } from './answer.ts';
import { Outbox, WORTH_RECYCLING_BYTES } from './outbox.ts';
import type { RequestBody } from './requestBody.ts';

/** Pieces up to this size are written together with the head, for one system call and one TLS record instead of two. */
const JOIN_LIMIT_BYTES = 16 * 1024;
const INTERIM_LIMIT = 32;

/** What one attempt tells the exchange it belongs to. */
export interface AttemptOwner {
  /** A head other than 1xx. True: keep it for now, `resume` or `cancel` follows. */
  answered(head: ResponseHead): boolean;
  /** 101; `rest` is what came behind its head. */
  switched(head: ResponseHead, rest: Buffer): void;
  /** The answer is about to be written to the agent. */
  begun(answer: Answer): void;
  /** All of the answer was written to the agent's socket. */
  finished(): void;
  /** The upstream closed, or said something that is no HTTP. */
  upstreamFailed(code: 'UpstreamReset' | 'UpstreamMalformed', detail: string): void;
  /** A bug of ours. */
  fault(error: unknown): void;
  /** Whether the connection to the agent may carry another request. */
  readonly mayKeepAlive: boolean;
}

/** A request sent once, on one upstream connection, and what comes back on it. */
export class Attempt implements UpstreamHandler, AnswerSink {
  readonly connection: UpstreamConnection;
  readonly outbox: Outbox;
  readonly body: RequestBody;
  readonly scrubber: Scrubber | undefined;
  bytesUp = 0;
  bytesDown = 0;
  /** Whether a byte has come back: from then on the request is not repeated elsewhere. */
  heard = false;
  /** Whether the connection is somebody else's by now. */
  released = false;
  readonly #owner: AttemptOwner;
  readonly #agent: AgentSide;
  readonly #request: RequestHead;
  readonly #up: Outbox;
  #reader: HeadBuffer | undefined;
  /** Set where a head did not come in one piece. */
  #headSinceMs: number | undefined;
  #answer: Answer | undefined;
  #held: { head: ResponseHead; bytes: Buffer; offset: number } | undefined;
  #interims = 0;
  /** The upstream sent more than its answer, or closed: it carries no other exchange. */
  #spent = false;
  #pushing = false;
  #complete = false;

  constructor(o: {
    owner: AttemptOwner;
    agent: AgentSide;
    request: RequestHead;
    connection: UpstreamConnection;
    body: RequestBody;
    up: Outbox;
    scrubber: Scrubber | undefined;
  }) {
    this.#owner = o.owner;
    this.#agent = o.agent;
    this.#request = o.request;
    this.connection = o.connection;
    this.body = o.body;
    this.#up = o.up;
    this.scrubber = o.scrubber;
    this.outbox = new Outbox(o.agent.socket);
    this.#reader = new HeadBuffer(o.agent.context.deps.limits.headLimitBytes);
    o.connection.handler = this;
  }

  /** Takes body bytes in without sending them yet. Returns where the body ends in `chunk`. @throws MalformedMessage */
  take(chunk: Buffer, offset: number): number {
    const end = this.body.push(chunk, offset);
    this.bytesUp += end - offset;
    return end;
  }

  /** Sends the head, which may hold material and is overwritten, and what `take` took. */
  send(head: Buffer): void {
    const { socket } = this.connection;
    this.bytesUp += head.length;
    if (this.body.secret || this.#up.bytes <= JOIN_LIMIT_BYTES) {
      this.#paced(this.#up.flushSecret(head, this.body.secret));
      return;
    }
    socket.cork();
    socket.write(head, () => head.fill(0));
    this.#paced(this.#up.flush());
    socket.uncork();
  }

  /** Sends what `take` took since. `written`: nothing reads the chunks any more. */
  forward(written: (() => void) | undefined): void {
    this.#paced(this.body.secret ? this.#up.flushSecret(undefined, true) : this.#up.flush(written));
  }

  #paced(room: boolean): void {
    if (!room && !this.body.done) this.#agent.socket.pause();
  }

  /** Whether the agent was told that its connection may carry another request. */
  get keepsAgent(): boolean {
    return this.#answer?.keepAlive === true;
  }

  /** Whether the upstream takes no more of the body for now. */
  get blocked(): boolean {
    return this.connection.socket.writableNeedDrain;
  }

  drain(): void {
    if (!this.body.done) this.#agent.readOn();
  }

  data(chunk: Buffer): void {
    this.heard = true;
    this.bytesDown += chunk.length;
    this.#guarded(chunk);
  }

  end(): void {
    this.#spent = true;
    this.#guarded(undefined);
  }

  closed(): void {
    this.#spent = true;
    this.#guarded(undefined);
  }

  /** Writes the answer that `answered` had kept. */
  resume(): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    this.connection.socket.resume();
    try {
      this.#begin(held.head, held.bytes, held.offset);
      if (this.#spent) this.#ended();
    } catch (error) {
      this.#failedWith(error);
    }
  }

  agentDrained(): void {
    if (this.#held !== undefined) return;
    this.#answer?.resume();
    if (this.#answer?.congested !== true) this.connection.socket.resume();
  }

  /** The exchange is over: the connection goes back to the pool if nothing speaks against it. */
  release(): void {
    const answer = this.#answer;
    const reusable = answer !== undefined && !this.#spent && this.#complete && this.body.done && answer.head.keepAlive;
    if (!reusable) this.cancel();
    else {
      this.released = true;
      this.connection.release(answer.head.keepAliveSeconds);
    }
  }

  cancel(): void {
    if (this.released) return;
    this.#complete = true;
    this.#held = undefined;
    this.connection.handler = undefined;
    this.connection.destroy();
    this.#answer?.destroy();
  }

  // From the answer: everything of it is in the outbox.
  done(): void {
    this.#complete = true;
    if (!this.#pushing) this.#flush(undefined);
  }

  failed(): void {
    if (!this.#complete) this.#owner.upstreamFailed('UpstreamMalformed', 'its content coding is broken');
  }

  progressed(): void {
    if (this.#pushing || this.#complete) return;
    this.#flush(undefined);
    if (!this.#complete && !this.#agent.socket.writableNeedDrain && this.#answer?.congested === false) {
      this.connection.socket.resume();
    }
  }

  /** Undefined: the upstream's end. Nothing that an upstream sends may throw out of a callback. */
  #guarded(chunk: Buffer | undefined): void {
    if (this.#complete || this.#held !== undefined) return;
    try {
      if (chunk === undefined) this.#ended();
      else if (this.#answer === undefined) this.#readHead(chunk);
      else this.#readBody(this.#answer, chunk, 0);
    } catch (error) {
      this.#failedWith(error);
    }
  }

  #failedWith(error: unknown): void {
    this.#pushing = false;
    if (error instanceof MalformedMessage) this.#owner.upstreamFailed('UpstreamMalformed', error.message);
    else if (error instanceof UnknownCoding) {
      this.#owner.upstreamFailed('UpstreamMalformed', `${error.message} cannot be looked through for the credential`);
    } else this.#owner.fault(error);
  }

  #readHead(chunk: Buffer): void {
    const reader = this.#reader!;
    let rest = chunk;
    while (reader.push(rest)) {
      this.#headSinceMs = undefined;
      const { bytes, headEnd } = reader;
      this.scrubber?.head(bytes, 0, headEnd);
      const head = parseResponseHead(bytes, headEnd, this.#request.method);
      if (head.status >= 200 || head.status === 101) {
        this.#reader = undefined;
        this.#final(head, bytes, headEnd);
        return;
      }
      this.#interim(head);
      reader.reset();
      if (headEnd === bytes.length) return;
      rest = bytes.subarray(headEnd);
    }
    this.#headSinceMs ??= this.#agent.context.nowMs;
  }

  /** For how long the head of an answer has been coming, to the accuracy of the sweep. */
  headMs(nowMs: number): number {
    return this.#headSinceMs === undefined || this.#answer !== undefined ? 0 : nowMs - this.#headSinceMs;
  }

  #interim(head: ResponseHead): void {
    if (++this.#interims > INTERIM_LIMIT) {
      throw new MalformedMessage('MalformedRequest', `it sent more than ${INTERIM_LIMIT} interim answers`);
    }
    // RFC 9110 section 15.2: to HTTP/1.0 there are none.
    if (this.#request.minorVersion === 1) this.#agent.socket.write(interimHead(head.status, head.fields));
  }

  #final(head: ResponseHead, bytes: Buffer, offset: number): void {
    if (head.status === 101) this.#owner.switched(head, bytes.subarray(offset));
    else if (this.#owner.answered(head)) {
      // Called off meanwhile if the request was repeated at once.
      if (this.#complete) return;
      this.#held = { head, bytes, offset };
      this.connection.socket.pause();
    } else this.#begin(head, bytes, offset);
  }

  #begin(head: ResponseHead, bytes: Buffer, offset: number): void {
    const answer = new Answer(this.#request, head, this.scrubber, this.#owner.mayKeepAlive && this.body.done, this);
    this.#answer = answer;
    this.#owner.begun(answer);
    this.#pushing = true;
    answer.begin();
    this.#pushing = false;
    this.#readBody(answer, bytes, offset);
  }

  #readBody(answer: Answer, chunk: Buffer, offset: number): void {
    this.#pushing = true;
    const end = answer.received || offset === chunk.length ? offset : answer.push(chunk, offset);
    this.#pushing = false;
    if (end < chunk.length) this.#spent = true;
    this.#flush(answer.keepsPieces ? undefined : chunk);
  }

  #ended(): void {
    const answer = this.#answer;
    if (answer === undefined) {
      this.#owner.upstreamFailed('UpstreamReset', 'it closed the connection before it answered');
    } else if (!answer.received) {
      if (answer.head.framing.kind !== 'close' || !this.connection.socket.readableEnded) {
        this.#owner.upstreamFailed('UpstreamReset', 'it closed the connection in the middle of its answer');
        return;
      }
      this.#pushing = true;
      answer.end();
      this.#pushing = false;
      this.#flush(undefined);
    }
  }

  /** `chunk`: what the upstream may read into again once it is written. */
  #flush(chunk: Buffer | undefined): void {
    const { connection } = this;
    const room =
      chunk !== undefined && chunk.length >= WORTH_RECYCLING_BYTES
        ? this.outbox.flush(() => connection.recycle(chunk))
        : this.outbox.flush();
    if (this.#complete) {
      this.#owner.finished();
    } else if (!room) {
      connection.socket.pause();
      this.#answer?.pause();
    } else if (this.#answer?.congested === true) connection.socket.pause();
  }
}
