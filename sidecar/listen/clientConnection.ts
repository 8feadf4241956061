import type { Socket } from 'node:net';
import type { Door } from '../decide/door.ts';
import { REFUSALS, type Refusal, refuse } from '../errors.ts';
import type { AgentSide } from '../exchange/agentSide.ts';
import { Exchange } from '../exchange/exchange.ts';
import { logFault } from '../exchange/fault.ts';
import { refusalAnswer } from '../exchange/refusalAnswer.ts';
import type { Splice } from '../exchange/splice.ts';
import { letGo } from '../exchange/turn.ts';
import { HeadBuffer } from '../http1/headBuffer.ts';
import { MalformedMessage } from '../http1/malformed.ts';
import type { RequestHead } from '../http1/message.ts';
import { parseRequestHead } from '../http1/requestHead.ts';
import { NO_SEAT } from '../roster.ts';
import { openConnect } from './connect.ts';
import type { ListenContext, Member } from './context.ts';
import { Lingering } from './lingering.ts';

/** `waiting`: for the first grants, with a CONNECT. */
type Phase = 'idle' | 'head' | 'waiting' | 'exchange' | 'switched' | 'gone';

/**
 * One connection of an agent that speaks HTTP/1.1, plain or decrypted: its requests one after the other, each answered before
 * the next is looked at. What is pipelined meanwhile is not read, but for the chunk it came in.
 */
export class ClientConnection implements AgentSide, Member {
  seat = NO_SEAT;
  readonly context: ListenContext;
  readonly socket: Socket;
  readonly door: Door;
  /** What every request on it is answered with, if it may carry none. */
  readonly #verdict: Refusal | undefined;
  readonly #head: HeadBuffer;
  #phase: Phase = 'idle';
  #sinceMs: number;
  #exchange: Exchange | undefined;
  #splice: Splice | undefined;
  /** Calls off the wait. */
  #cancel: (() => void) | undefined;
  #held: Buffer | undefined;
  #ended = false;
  #feeding = false;

  constructor(context: ListenContext, socket: Socket, door: Door, verdict?: Refusal) {
    this.context = context;
    this.socket = socket;
    this.door = door;
    this.#verdict = verdict;
    this.#head = new HeadBuffer(context.deps.limits.headLimitBytes);
    this.#sinceMs = context.nowMs;
    context.add(this);
    socket.on('data', this.receive).on('end', this.#end).on('drain', this.#drain);
    socket.on('error', ignore).on('close', this.#closed);
  }

  get atEnd(): boolean {
    return this.#ended && this.#held === undefined;
  }

  takeHeld(): Buffer | undefined {
    const held = this.#held;
    this.#held = undefined;
    return held;
  }

  putBack(rest: Buffer): void {
    this.#held = this.#held === undefined ? rest : Buffer.concat([rest, this.#held]);
  }

  readOn(): void {
    const held = this.#exchange?.readsBody === true ? this.takeHeld() : undefined;
    if (held !== undefined) this.receive(held);
    if (this.#held !== undefined) return;
    if (this.#ended) this.#endedInside();
    else this.socket.resume();
  }

  exchangeOver(reusable: boolean): void {
    this.#exchange = undefined;
    if (this.#phase !== 'exchange') return;
    if (!reusable || this.context.draining) {
      this.#linger();
      return;
    }
    this.#phase = 'idle';
    this.#sinceMs = this.context.nowMs;
    if (!this.#feeding) this.#next();
  }

  switchTo(splice: Splice): void {
    this.#phase = 'switched';
    this.#splice = splice;
    const held = this.takeHeld();
    if (held !== undefined) splice.clientData(held);
    if (this.#ended) splice.clientEnd();
    else this.socket.resume();
  }

  abort(reset: boolean): void {
    letGo(this.socket);
    // A TLS socket needs no reset: without close_notify its end is no proper one.
    if (reset && !('encrypted' in this.socket)) this.socket.resetAndDestroy();
    else if (reset) this.socket.destroy();
    else this.#linger();
  }

  destroy(): void {
    this.socket.destroy();
  }

  drain(): void {
    if (this.#phase === 'idle') this.socket.destroy();
  }

  sweep(nowMs: number): void {
    const { limits } = this.context.deps;
    const ageMs = nowMs - this.#sinceMs;
    switch (this.#phase) {
      case 'idle':
        // A client that takes no more of its answers is idle as well.
        if (ageMs > limits.idleTimeoutMs) this.socket.destroy();
        break;
      case 'head':
        if (ageMs > limits.headTimeoutMs)
          this.#refuse(
            refuse('RequestTimeout', `The request head did not come within ${limits.headTimeoutMs / 1000} s.`),
          );
        break;
      case 'waiting':
        if (this.#ended) this.context.closedPeers.ask(this.socket, this.#abandoned);
        break;
      case 'exchange':
        if (this.#ended) this.context.closedPeers.ask(this.socket, this.#abandoned);
        this.#exchange?.sweep(nowMs);
        break;
      case 'switched':
        this.#exchange?.sweep(nowMs);
        break;
      case 'gone':
        break;
    }
  }

  /** Bytes of the agent. Nothing it sends may throw out of a callback. */
  readonly receive = (chunk: Buffer): void => {
    try {
      switch (this.#phase) {
        case 'idle':
        case 'head':
          if (this.#held === undefined && !this.#feeding) this.#feed(chunk);
          else this.#hold(chunk);
          break;
        case 'waiting':
          this.#hold(chunk);
          break;
        case 'exchange':
          this.#exchangeData(chunk);
          break;
        case 'switched':
          this.#splice!.clientData(chunk);
          break;
        case 'gone':
          break;
      }
    } catch (error) {
      this.#fault(error);
    }
  };

  #exchangeData(chunk: Buffer): void {
    const exchange = this.#exchange!;
    if (!exchange.readsBody) {
      this.#hold(chunk);
      return;
    }
    // The last byte may end the exchange, but what follows it must be held before the next one begins.
    const feeding = this.#feeding;
    this.#feeding = true;
    const end = exchange.body(chunk);
    this.#feeding = feeding;
    if (end < chunk.length) this.putBack(chunk.subarray(end));
    if (this.#phase === 'idle' && !feeding) this.#next();
  }

  #hold(chunk: Buffer): void {
    this.#held = this.#held === undefined ? chunk : Buffer.concat([this.#held, chunk]);
    this.socket.pause();
  }

  /** Starts on what is held, or waits for more. */
  #next(): void {
    const held = this.takeHeld();
    if (held !== undefined) this.#feed(held);
    if (this.#phase !== 'idle' && this.#phase !== 'head') return;
    if (this.#held !== undefined) return;
    if (this.#ended) this.#leave();
    else if (this.socket.isPaused()) this.socket.resume();
  }

  /** Works off the requests in `chunk`, in a loop, as those that are answered at once come in thousands. */
  #feed(chunk: Buffer): void {
    let rest: Buffer | undefined = chunk;
    this.#feeding = true;
    try {
      while (rest !== undefined && (this.#phase === 'idle' || this.#phase === 'head')) {
        if (this.socket.writableNeedDrain) {
          this.#hold(rest);
          break;
        }
        this.#step(rest);
        rest = this.#phase === 'idle' ? this.takeHeld() : undefined;
      }
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error;
      this.#refuse(refuse(error.code, error.message));
    } finally {
      this.#feeding = false;
    }
    // Answered within the loop, and nothing came to wake it up again.
    if (this.#phase === 'idle' && this.#held === undefined) this.#next();
  }

  /** @throws MalformedMessage */
  #step(chunk: Buffer): void {
    const buffer = this.#head;
    if (!buffer.push(chunk)) {
      if (this.#phase === 'idle' && !buffer.empty) {
        this.#phase = 'head';
        this.#sinceMs = this.context.nowMs;
      }
      return;
    }
    const { bytes, headStart, headEnd } = buffer;
    const request = parseRequestHead(bytes, headStart, headEnd);
    buffer.reset();
    if (headEnd < bytes.length) this.#held = bytes.subarray(headEnd);
    this.#phase = 'exchange';
    if (this.#verdict !== undefined) this.#refuse(this.#verdict, request);
    else if (request.method === 'CONNECT') this.#connect(request);
    else {
      this.#exchange = new Exchange(this, request);
      this.#exchange.start();
    }
  }

  #connect(request: RequestHead): void {
    const { grants } = this.context.deps;
    if (!grants.known) {
      this.#phase = 'waiting';
      this.#cancel = grants.wait(() => {
        this.#cancel = undefined;
        try {
          this.#open(request);
        } catch (error) {
          this.#fault(error);
        }
      });
      if (this.#cancel !== undefined) return;
    }
    this.#open(request);
  }

  #open(request: RequestHead): void {
    const opened = openConnect(this.context, this.door, request);
    if ('kind' in opened) {
      this.#refuse(opened, request);
      return;
    }
    const rest = this.takeHeld();
    this.#handOver();
    opened.take(this.socket, rest, this.#ended);
  }

  /** Answers without an exchange, and closes. */
  #refuse(refusal: Refusal, request?: RequestHead): void {
    const { usage } = this.context.deps;
    this.socket.write(refusalAnswer(refusal, { headOnly: request?.method === 'HEAD', close: true }));
    usage.record({
      authority: request?.method === 'CONNECT' ? request.target : '',
      method: request?.method ?? '',
      path: '',
      status: REFUSALS[refusal.code].status,
      refusal: refusal.code,
      bytesUp: 0,
      bytesDown: 0,
      durationMs: 0,
    });
    this.#linger();
  }

  /** The agent has ended, and has its answers: nobody is left to linger for, which is two system calls and a wake-up less. */
  #leave(): void {
    if (this.socket.writableLength === 0) this.socket.destroy();
    else this.#linger();
  }

  #linger(): void {
    if (this.#phase === 'gone') return;
    this.#handOver();
    new Lingering(this.context, this.socket);
  }

  /** The socket is somebody else's from now on. */
  #handOver(): void {
    this.#phase = 'gone';
    this.#held = undefined;
    const { socket } = this;
    socket.off('data', this.receive).off('end', this.#end).off('drain', this.#drain).off('close', this.#closed);
    this.context.remove(this);
  }

  readonly #end = (): void => {
    this.#ended = true;
    try {
      if (this.#phase === 'switched') this.#splice!.clientEnd();
      else if (this.#phase === 'exchange') this.#endedInside();
      else if (this.#phase !== 'waiting' && this.#held === undefined) this.#leave();
    } catch (error) {
      this.#fault(error);
    }
  };

  /** A FIN behind a whole request is legitimate: its answer is still awaited. */
  #endedInside(): void {
    if (this.#held !== undefined) return;
    if (this.#exchange?.requestDone === false) this.socket.destroy();
    else this.context.closedPeers.ask(this.socket, this.#abandoned);
  }

  /** Nobody waits for the answer any more. */
  readonly #abandoned = (): void => {
    if (this.#phase === 'exchange' || this.#phase === 'waiting') this.socket.destroy();
  };

  readonly #drain = (): void => {
    try {
      if (this.#phase === 'switched') this.#splice!.clientDrained();
      else if (this.#phase === 'exchange') this.#exchange?.agentDrained();
      else if (this.#phase === 'idle' || this.#phase === 'head') this.#next();
    } catch (error) {
      this.#fault(error);
    }
  };

  readonly #closed = (): void => {
    const phase = this.#phase;
    this.#phase = 'gone';
    this.context.remove(this);
    this.#cancel?.();
    try {
      if (phase === 'switched') this.#splice!.clientClosed();
      this.#exchange?.agentGone();
    } catch (error) {
      this.#fault(error);
    }
    this.#exchange = undefined;
    this.#splice = undefined;
    this.#held = undefined;
  };

  #fault(error: unknown): void {
    logFault(this.context.deps.log, error);
    this.socket.destroy();
  }
}

/** What matters of an error is that the socket closes, which is told in any case. */
function ignore(): void {}
