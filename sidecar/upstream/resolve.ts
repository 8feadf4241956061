import { type LookupAddress, lookup as systemLookup } from 'node:dns';
import { isIP } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import { type Refusal, refuse } from '../errors.ts';

/** All addresses of a name in the order that the resolver prefers, as dns.lookup with `all` gives them. */
export type Lookup = (
  host: string,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

export type Addresses = readonly LookupAddress[];

const POSITIVE_TTL_MS = 30_000;
const NEGATIVE_TTL_MS = 2_000;
const CACHE_LIMIT = 1_024;
const IN_FLIGHT_LIMIT = 256;
const LOOPBACK: Addresses = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
];

type Callback = (result: Addresses | Refusal) => void;

/** Names to addresses through the system's resolver: one question per name at a time, answers kept for a while, both bounded. */
export class Resolver {
  readonly #clock: Clock;
  readonly #lookup: Lookup;
  readonly #cache = new Map<string, { result: Addresses | Refusal; expiresAtMs: number }>();
  readonly #waiting = new Map<string, Callback[]>();

  constructor(clock: Clock, lookup: Lookup = getaddrinfo) {
    this.#clock = clock;
    this.#lookup = lookup;
  }

  /** Calls back at once for a literal, a loopback name and what is cached. */
  resolve(host: string, callback: Callback): void {
    const known = this.#known(host);
    if (known === undefined) this.#ask(host, callback);
    else callback(known);
  }

  #known(host: string): Addresses | Refusal | undefined {
    const family = isIP(host);
    if (family !== 0) return [{ address: host, family }];
    // RFC 6761 section 6.3: these never go to DNS.
    if (host === 'localhost' || host.endsWith('.localhost')) return LOOPBACK;
    const cached = this.#cache.get(host);
    return cached !== undefined && cached.expiresAtMs > this.#clock.monotonicMs() ? cached.result : undefined;
  }

  #ask(host: string, callback: Callback): void {
    const waiting = this.#waiting.get(host);
    if (waiting !== undefined) waiting.push(callback);
    else if (this.#waiting.size >= IN_FLIGHT_LIMIT) {
      callback(refuse('Overloaded', `${IN_FLIGHT_LIMIT} names are being resolved already`, 1));
    } else {
      this.#waiting.set(host, [callback]);
      this.#lookup(host, (error, addresses) => this.#answered(host, error, addresses));
    }
  }

  #answered(host: string, error: NodeJS.ErrnoException | null, addresses: LookupAddress[]): void {
    const found = error === null && addresses.length > 0;
    const result = found ? addresses : refuse('UpstreamUnresolved', unresolved(host, error));
    this.#cache.delete(host);
    if (this.#cache.size >= CACHE_LIMIT) this.#cache.delete(this.#cache.keys().next().value!);
    const expiresAtMs = this.#clock.monotonicMs() + (found ? POSITIVE_TTL_MS : NEGATIVE_TTL_MS);
    this.#cache.set(host, { result, expiresAtMs });
    const waiting = this.#waiting.get(host) ?? [];
    this.#waiting.delete(host);
    for (const callback of waiting) callback(result);
  }
}

function unresolved(host: string, error: NodeJS.ErrnoException | null): string {
  const code = error?.code ?? 'no address';
  return code === 'EAI_AGAIN'
    ? `the name ${host} could not be looked up: DNS does not answer (${code})`
    : `the name ${host} does not exist in DNS (${code})`;
}

function getaddrinfo(host: string, callback: Parameters<Lookup>[1]): void {
  systemLookup(host, { all: true, order: 'verbatim' }, callback);
}
