import { REFUSALS, type Refusal, type RefusalCode, refuse } from '../errors.ts';
import { MalformedMessage } from '../http1/malformed.ts';
import { NO_BODY, type RequestHead, type ResponseHead } from '../http1/message.ts';
import { responseHead } from '../http1/writer.ts';
import { NO_SEAT } from '../roster.ts';
import type { UpstreamConnection } from '../upstream/upstreams.ts';
import type { AgentSide } from './agentSide.ts';
import type { Answer } from './answer.ts';
import { Attempt, type AttemptOwner } from './attempt.ts';
import { Clearance } from './clearance.ts';
import { Discard } from './discard.ts';
import { logFault } from './fault.ts';
import type { Cuttable } from './inFlight.ts';
import { WORTH_RECYCLING_BYTES } from './outbox.ts';
import { outgoing } from './outgoing.ts';
import { type Overdue, overdue, Patience, REFRESH_LIMIT_MS } from './patience.ts';
import { refusalAnswer } from './refusalAnswer.ts';
import { Replay } from './replay.ts';
import { Splice } from './splice.ts';
import { StreamLease } from './streamLease.ts';
import { identityOnly, switchable } from './upgrade.ts';

type State = 'waiting' | 'sent' | 'refreshing' | 'answering' | 'switched' | 'discarding' | 'over';

/**
 * One request of an agent and its answer: decided, given its credential, sent on, and answered.
 *
 * Repeated at most once after each of two failures: a pooled connection that turns out to be closed (idempotent methods only,
 * RFC 9110 section 9.2.2), and a 401 to a credential of which there is a newer version (any method, as by RFC 9110 section
 * 15.5.2 the request was not applied); in both cases only while all that the agent sent is still at hand (Replay).
 */
export class Exchange implements AttemptOwner, Cuttable {
  seat = NO_SEAT;
  readonly #agent: AgentSide;
  readonly #request: RequestHead;
  readonly #startedMs: number;
  #state: State = 'waiting';
  readonly #clearance: Clearance;
  #attempt: Attempt | undefined;
  #replay: Replay | undefined;
  #retried = false;
  #refreshed = false;
  /** Whether an attempt that is over had read all of the body. */
  #bodyRead = false;
  #splice: Splice | undefined;
  #stream: StreamLease | undefined;
  #discard: Discard | undefined;
  /** Status that the agent got; 0 before. */
  #status = 0;
  #refusedCode: RefusalCode | undefined;
  #resetToCut = false;
  readonly #patience: Patience;

  constructor(agent: AgentSide, request: RequestHead) {
    this.#agent = agent;
    this.#request = request;
    this.#clearance = new Clearance(agent, request);
    this.#startedMs = agent.context.deps.clock.monotonicMs();
    this.#patience = new Patience(agent.context.nowMs);
  }

  get integration(): string {
    return this.#clearance.entry?.integration ?? '';
  }

  get mayKeepAlive(): boolean {
    const { keepAlive, minorVersion } = this.#request;
    return keepAlive && minorVersion === 1 && !this.#agent.atEnd && !this.#agent.context.draining;
  }

  /** Whether `body` takes bytes now. */
  get readsBody(): boolean {
    if (this.#state === 'discarding') return true;
    return (this.#state === 'sent' || this.#state === 'answering') && !this.#attempt!.body.done;
  }

  /** Whether all of the request has been read from the agent. */
  get requestDone(): boolean {
    return this.#bodyRead || this.#request.framing.kind === 'none' || this.#attempt?.body.done === true;
  }

  start(): void {
    if (this.#agent.context.deps.grants.known) this.#decide();
    else this.#clearance.awaitGrants(() => this.#decide());
  }

  #decide(): void {
    this.#guarded(() => {
      const refusal = this.#clearance.decide();
      if (refusal !== undefined) {
        this.#refuse(refusal);
        return;
      }
      if (this.#clearance.entry !== undefined) {
        this.#agent.context.inFlight.add(this);
        identityOnly(this.#request.fields);
      }
      this.#clearance.obtainLease(this.#leased);
    });
  }

  readonly #leased = (refusal: Refusal | undefined): void => {
    this.#guarded(() => {
      if (refusal === undefined) this.#connect(false);
      else this.#refuse(refusal);
    });
  };

  #connect(fresh: boolean): void {
    this.#state = 'waiting';
    this.#clearance.putOnRecord((refusal) => {
      this.#guarded(() => {
        if (refusal === undefined) this.#clearance.connect(fresh, this.#connected);
        else this.#refuse(refusal);
      });
    });
  }

  readonly #connected = (result: UpstreamConnection | Refusal): void => {
    this.#guarded(() => {
      if ('kind' in result) this.#refuse(result);
      else this.#send(result);
    });
  };

  #send(connection: UpstreamConnection): void {
    const request = this.#request;
    const { located, entry, lease } = this.#clearance;
    const parts = outgoing(connection.socket, request, located!, entry, lease);
    if ('kind' in parts) {
      connection.release();
      this.#refuse(parts);
      return;
    }
    const { head, body, up, scrubber } = parts;
    const attempt = new Attempt({ owner: this, agent: this.#agent, request, connection, body, up, scrubber });
    this.#attempt = attempt;
    this.#state = 'sent';
    try {
      this.#replay ??= new Replay();
      for (const chunk of this.#replay.chunks) attempt.take(chunk, 0);
      this.#takeHeld(attempt);
    } catch (error) {
      head.fill(0);
      this.#badBody(error);
      return;
    }
    attempt.send(head);
    if (!body.done && !attempt.blocked) this.#agent.readOn();
  }

  #takeHeld(attempt: Attempt): void {
    if (attempt.body.done) return;
    const held = this.#agent.takeHeld();
    if (held === undefined) return;
    const end = attempt.take(held, 0);
    this.#keep(attempt, end === held.length ? held : held.subarray(0, end));
    if (end < held.length) this.#agent.putBack(held.subarray(end));
  }

  #keep(attempt: Attempt, chunk: Buffer): void {
    // Bytes with material are overwritten as they are sent.
    if (attempt.body.secret || this.#replay?.add(chunk) !== true) this.#replay = undefined;
  }

  /** Body bytes of the agent. Returns where the body ends in `chunk`; `readsBody` says whether they are wanted. */
  body(chunk: Buffer): number {
    try {
      if (this.#discard !== undefined) {
        const end = this.#discard.push(chunk);
        if (this.#discard.done) this.#over(true);
        return end;
      }
      const attempt = this.#attempt!;
      const end = attempt.take(chunk, 0);
      if (this.#state === 'sent') this.#keep(attempt, end === chunk.length ? chunk : chunk.subarray(0, end));
      const free = this.#replay === undefined && end === chunk.length && chunk.length >= WORTH_RECYCLING_BYTES;
      attempt.forward(free ? () => this.#agent.context.reads.recycle(chunk) : undefined);
      return end;
    } catch (error) {
      this.#badBody(error);
      return chunk.length;
    }
  }

  #badBody(error: unknown): void {
    if (error instanceof MalformedMessage) this.#fail(refuse('MalformedRequest', error.message));
    else this.fault(error);
  }

  agentDrained(): void {
    this.#attempt?.agentDrained();
  }

  /** The agent closed its connection: nobody waits for the answer. */
  agentGone(): void {
    if (this.#splice === undefined && this.#state !== 'over') this.#over(false);
  }

  answered(head: ResponseHead): boolean {
    const { lease } = this.#clearance;
    if (head.status !== 401 || lease === undefined || this.#refreshed) return false;
    this.#refreshed = true;
    if (this.#replay === undefined) {
      // For the next request; this one cannot be sent again.
      this.#agent.context.deps.grants.leases.refresh(lease.credential, lease.version, nothing);
      return false;
    }
    this.#state = 'refreshing';
    let kept = true;
    let later = false;
    this.#clearance.refresh((newer) => {
      if (newer) this.#repeat();
      else if (later) this.#passOn();
      else kept = false;
    });
    later = true;
    if (!kept) this.#state = 'sent';
    return kept;
  }

  /** Sends the request once more, with the newer version of the credential. */
  #repeat(): void {
    this.#guarded(() => this.#connectAgain(false));
  }

  #connectAgain(fresh: boolean): void {
    const attempt = this.#attempt!;
    attempt.cancel();
    this.#bodyRead = attempt.body.done;
    this.#attempt = undefined;
    this.#connect(fresh);
  }

  /** The agent gets the 401 that was kept. */
  #passOn(): void {
    this.#state = 'sent';
    this.#attempt!.resume();
    if (this.readsBody) this.#agent.readOn();
  }

  begun(answer: Answer): void {
    this.#state = 'answering';
    this.#replay = undefined;
    this.#status = answer.head.status;
    this.#resetToCut = answer.framing.kind === 'close';
    if (answer.head.fields.get('content-type')?.startsWith('text/event-stream') === true) this.#bindToLease();
  }

  #bindToLease(): void {
    const { lease } = this.#clearance;
    if (lease !== undefined) this.#stream = new StreamLease(lease, this.#agent.context.deps.grants.leases);
  }

  finished(): void {
    const attempt = this.#attempt!;
    const reusable = attempt.keepsAgent && attempt.body.done;
    attempt.release();
    this.#over(reusable);
  }

  switched(head: ResponseHead, rest: Buffer): void {
    const attempt = this.#attempt!;
    const upgrade = switchable(this.#request, this.#clearance.entry !== undefined);
    if (upgrade === undefined || head.upgrade !== upgrade) {
      this.upstreamFailed('UpstreamMalformed', 'it changes to a protocol that was not asked for');
      return;
    }
    this.#state = 'switched';
    this.#status = 101;
    this.#replay = undefined;
    this.#bindToLease();
    const { socket } = this.#agent;
    const { reason, fields } = head;
    socket.write(responseHead({ status: 101, reason, fields, framing: NO_BODY, close: false, upgrade }));
    this.#splice = new Splice({
      client: socket,
      upstream: attempt.connection,
      reads: this.#agent.context.reads,
      scrubber: attempt.scrubber,
      closed: ({ up, down }) => {
        attempt.bytesUp += up;
        attempt.bytesDown += down;
        this.#settle(undefined);
      },
    });
    this.#agent.switchTo(this.#splice);
    if (rest.length > 0) this.#splice.data(rest);
  }

  upstreamFailed(code: 'UpstreamReset' | 'UpstreamMalformed', detail: string): void {
    const attempt = this.#attempt!;
    attempt.cancel();
    const stale = code === 'UpstreamReset' && attempt.connection.reused && !attempt.heard;
    if (stale && !this.#retried && this.#replay !== undefined && IDEMPOTENT.has(this.#request.method)) {
      this.#retried = true;
      this.#connectAgain(true);
      return;
    }
    const upstream = this.#clearance.authority;
    this.#fail(refuse(code, `The answer of ${upstream} could not be read: ${detail}`));
  }

  /** Revoked: whatever runs ends now. */
  cut(): void {
    if (this.#state === 'over') return;
    this.#fail(refuse('Revoked', `Integration ${this.integration} was revoked while the request was under way.`), true);
  }

  /** A request was authorised when it began and ends; a stream has no end of its own. */
  recheck(): void {
    if (this.#stream !== undefined && !this.#clearance.stands) this.cut();
  }

  /** Nothing may throw out of a callback: a bug of ours ends this exchange and no other. */
  #guarded(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.fault(error);
    }
  }

  fault(error: unknown): void {
    logFault(this.#agent.context.deps.log, error);
    if (this.#state === 'over') this.#agent.abort(true);
    else this.#fail(refuse('InternalError', 'The sidecar failed on this request.'), true);
  }

  sweep(nowMs: number): void {
    if (this.#stream?.over(nowMs) === true) {
      this.#fail(refuse('StoreUnavailable', 'The lease of the credential ended.'), true);
      return;
    }
    const attempt = this.#attempt;
    const bytes = (attempt === undefined ? 0 : attempt.bytesUp + attempt.bytesDown) + (this.#splice?.bytes ?? 0);
    const silentMs = this.#patience.silentMs(bytes, nowMs);
    const { limits } = this.#agent.context.deps;
    switch (this.#state) {
      case 'sent':
        this.#sweepSent(overdue(attempt!, this.#request.expectContinue, { nowMs, silentMs }, limits), silentMs);
        break;
      case 'refreshing':
        if (silentMs <= REFRESH_LIMIT_MS) break;
        this.#clearance.cancel();
        this.#passOn();
        break;
      case 'answering':
      case 'switched':
        // An agent that does not read what is written would not read on either.
        if (silentMs > limits.silenceTimeoutMs)
          this.#fail(refuse('UpstreamTimeout', 'The answer stopped coming.'), this.#agent.socket.writableLength > 0);
        break;
      case 'discarding':
        if (silentMs > limits.bodyTimeoutMs) this.#over(false);
        break;
      default:
        // Leases and connections have bounds of their own.
        break;
    }
  }

  #sweepSent(whose: Overdue, silentMs: number): void {
    if (whose === undefined) return;
    const seconds = Math.round(silentMs / 1_000);
    const upstream = this.#clearance.authority;
    if (whose === 'head')
      this.#fail(refuse('UpstreamTimeout', `The head of the answer of ${upstream} was not whole in time.`));
    else if (whose === 'agent')
      this.#fail(refuse('RequestTimeout', `Nothing of the request's body has come for ${seconds} s.`));
    else {
      const what = whose === 'upstream' ? 'read on' : 'answer';
      this.#fail(refuse('UpstreamTimeout', `${upstream} did not ${what} for ${seconds} s.`));
    }
  }

  /** Ends the exchange early: with a refusal if the agent has heard nothing yet, else by cutting the answer short. */
  #fail(refusal: Refusal, hard = false): void {
    this.#attempt?.cancel();
    if (this.#splice !== undefined) {
      this.#refusedCode = refusal.code;
      this.#splice.cut();
    } else if (this.#status === 0 || this.#attempt?.outbox.used === false) this.#refuse(refusal);
    else {
      this.#settle(refusal.code);
      this.#agent.abort(hard || this.#resetToCut);
    }
  }

  /** Answers the agent itself. */
  #refuse(refusal: Refusal): void {
    this.#clearance.cancel();
    // Of a body that was read from already, nobody knows any more what is still to come.
    const discard =
      this.#attempt === undefined && this.#replay === undefined ? Discard.begin(this.#agent, this.#request) : undefined;
    const clear = discard !== undefined || this.requestDone;
    const reusable = clear && this.mayKeepAlive && refusal.code !== 'InternalError';
    this.#status = REFUSALS[refusal.code].status;
    this.#refusedCode = refusal.code;
    this.#agent.socket.write(refusalAnswer(refusal, { headOnly: this.#request.method === 'HEAD', close: !reusable }));
    if (!reusable || discard === undefined || discard.done) this.#over(reusable);
    else {
      this.#discard = discard;
      this.#state = 'discarding';
      this.#agent.readOn();
    }
  }

  #over(reusable: boolean): void {
    this.#settle(this.#refusedCode);
    this.#agent.exchangeOver(reusable);
  }

  /** Gives up all that the exchange holds, and records it. */
  #settle(refusal: RefusalCode | undefined): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    this.#clearance.cancel();
    const attempt = this.#attempt;
    // Harmless if it was released: then this is not its borrower any more.
    if (attempt !== undefined && !attempt.released) attempt.cancel();
    const { deps, inFlight } = this.#agent.context;
    if (this.#clearance.entry !== undefined) inFlight.delete(this);
    deps.metrics.scrubbed += attempt?.scrubber?.count ?? 0;
    const { authority, concerned, located, lease, requestId } = this.#clearance;
    deps.usage.record({
      requestId,
      authority,
      method: this.#request.method,
      path: located?.path ?? '',
      status: this.#status,
      refusal: refusal ?? this.#refusedCode,
      entry: concerned,
      lease,
      bytesUp: attempt?.bytesUp ?? 0,
      bytesDown: attempt?.bytesDown ?? 0,
      durationMs: deps.clock.monotonicMs() - this.#startedMs,
    });
    this.#clearance.release();
    this.#replay = undefined;
  }
}

/** RFC 9110 section 9.2.2. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

function nothing(): void {}
