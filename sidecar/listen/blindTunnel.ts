import type { Socket } from 'node:net';
import { authorityText } from '../decide/authority.ts';
import { REFUSALS, type Refusal, refuse } from '../errors.ts';
import { Splice } from '../exchange/splice.ts';
import { NO_SEAT } from '../roster.ts';
import type { UpstreamConnection } from '../upstream/upstreams.ts';
import type { ListenContext, Member } from './context.ts';
import type { Manners, Opened } from './opened.ts';

/** A tunnel to a host of no Integration: bytes only, no credential, and the host's own certificate for the agent to see. */
export class BlindTunnel implements Opened, Member {
  seat = NO_SEAT;
  readonly #context: ListenContext;
  readonly #host: string;
  readonly #port: number;
  readonly #manners: Manners;
  readonly #startedMs: number;
  #socket!: Socket;
  #held: Buffer | undefined;
  #ended = false;
  #cancel: (() => void) | undefined;
  #splice: Splice | undefined;
  #bytes = 0;
  #progressMs: number;
  #recorded = false;

  constructor(context: ListenContext, host: string, port: number, manners: Manners) {
    this.#context = context;
    this.#host = host;
    this.#port = port;
    this.#manners = manners;
    this.#startedMs = context.deps.clock.monotonicMs();
    this.#progressMs = context.nowMs;
  }

  take(socket: Socket, rest: Buffer | undefined, ended: boolean): void {
    this.#socket = socket;
    this.#held = rest;
    this.#ended = ended;
    this.#context.add(this);
    socket.on('data', this.#data).on('end', this.#end).on('drain', this.#drain).on('close', this.#closed);
    const authority = { scheme: 'http' as const, host: this.#host, port: this.#port };
    const id = `tunnel ${authorityText(authority)}`;
    const target = { id, authority, credentialed: false, networks: undefined, blind: true };
    let waiting = true;
    const cancel = this.#context.deps.upstreams.acquire(target, true, (result) => {
      waiting = false;
      this.#cancel = undefined;
      if (socket.destroyed) {
        if (!('kind' in result)) result.destroy();
      } else if ('kind' in result) this.#refuse(result);
      else this.#join(result);
    });
    if (waiting) this.#cancel = cancel;
  }

  sweep(nowMs: number): void {
    const bytes = this.#splice?.bytes ?? 0;
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#progressMs = nowMs;
    } else if (nowMs - this.#progressMs > this.#context.deps.limits.silenceTimeoutMs) this.destroy();
  }

  drain(): void {}

  destroy(): void {
    if (this.#splice === undefined) this.#socket.destroy();
    else this.#splice.cut();
  }

  /** Only now, as an agent told 200 would take a failure of ours for one of the host. */
  #join(upstream: UpstreamConnection): void {
    const socket = this.#socket;
    if (this.#manners.established !== '') socket.write(this.#manners.established);
    const splice = new Splice({
      client: socket,
      upstream,
      reads: this.#context.reads,
      closed: ({ up, down }) => this.#record(200, undefined, up, down),
    });
    this.#splice = splice;
    if (this.#held !== undefined) splice.clientData(this.#held);
    this.#held = undefined;
    if (this.#ended) splice.clientEnd();
    else socket.resume();
  }

  #refuse(refusal: Refusal): void {
    this.#record(REFUSALS[refusal.code].status, refusal, 0, 0);
    this.#socket.write(this.#manners.refusal(refusal));
    this.#socket.destroySoon();
  }

  #record(status: number, refusal: Refusal | undefined, bytesUp: number, bytesDown: number): void {
    if (this.#recorded) return;
    this.#recorded = true;
    const { clock, usage } = this.#context.deps;
    usage.record({
      authority: authorityText({ host: this.#host, port: this.#port }),
      method: 'CONNECT',
      path: '',
      status,
      refusal: refusal?.code,
      bytesUp,
      bytesDown,
      durationMs: clock.monotonicMs() - this.#startedMs,
      tunnel: true,
    });
  }

  readonly #data = (chunk: Buffer): void => {
    if (this.#splice !== undefined) {
      this.#splice.clientData(chunk);
      return;
    }
    this.#held = this.#held === undefined ? chunk : Buffer.concat([this.#held, chunk]);
    this.#socket.pause();
  };

  readonly #end = (): void => {
    this.#ended = true;
    this.#splice?.clientEnd();
  };

  readonly #drain = (): void => this.#splice?.clientDrained();

  readonly #closed = (): void => {
    this.#cancel?.();
    this.#splice?.clientClosed();
    this.#record(0, refuse('UpstreamReset', 'The agent closed the tunnel before it stood.'), 0, 0);
    this.#context.remove(this);
  };
}
