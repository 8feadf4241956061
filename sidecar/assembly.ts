import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../lib/clock.ts';
import { errorCode, errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { portInUse } from '../lib/portOwner.ts';
import { type Bounds, defaultBounds } from './config.ts';
import type { SidecarDeps } from './deps.ts';
import { LiveGrants } from './grants/liveGrants.ts';
import { Membership } from './link/membership.ts';
import type { InterceptCa } from './listen/interceptCa.ts';
import { ProxyListener } from './listen/proxyListener.ts';
import { HealthServer } from './record/healthServer.ts';
import { Metrics } from './record/metrics.ts';
import { UsageLog } from './record/usage.ts';
import { isStartError, START_ERRORS, type StartErrorCode, startError } from './startErrors.ts';
import type { ProxySelector } from './upstream/proxy.ts';
import { Upstreams } from './upstream/upstreams.ts';

/** For telling the store of the last uses and of the end, should it not answer. */
const FAREWELL_MS = 3_000;

export interface AssemblyOptions {
  ca: InterceptCa;
  clock: Clock;
  egress: 'Open' | 'Closed';
  limits?: Partial<Bounds> | undefined;
  log: Logger;
  proxyFor: ProxySelector;
  rootsPem: string;
  /** Why there is no session, where that is known. */
  unjoined?: () => string | undefined;
}

/** The parts of a sidecar, put together: what it is whoever started it. Nothing listens yet, and there is no session. */
export class Assembly {
  readonly grants: LiveGrants;
  readonly membership: Membership;
  readonly proxy: ProxyListener;
  readonly health: HealthServer;
  readonly #usage: UsageLog;
  readonly #upstreams: Upstreams;
  readonly #ownPorts = new Set<number>();
  readonly #unjoined: () => string | undefined;
  #stopping = false;

  constructor({ ca, clock, egress, limits: changes, log, proxyFor, rootsPem, unjoined }: AssemblyOptions) {
    const limits = { ...defaultBounds, ...changes };
    const metrics = new Metrics();
    const ownPorts = this.#ownPorts;
    const upstreams = new Upstreams({ clock, rootsPem, ownPorts, proxyFor });
    const membership = new Membership({ log, event: (event) => grants.apply(event) });
    const grants = new LiveGrants({ clock, log, source: membership, waitMs: limits.grantsWaitMs });
    const usage = new UsageLog({ clock, log, metrics, sink: membership });
    const deps: SidecarDeps = { ca, clock, egress, grants, limits, log, metrics, ownPorts, upstreams, usage };
    // Connections that were opened for what is gone; their ids are made in exchange/target.ts.
    grants.onRevoked((integration) => upstreams.dropIdle((id) => id.endsWith(` ${integration}`)));
    grants.onVersion((credential) => upstreams.dropIdle((id) => id.includes(` ${credential}@`)));
    this.grants = grants;
    this.membership = membership;
    this.proxy = new ProxyListener(deps);
    this.#usage = usage;
    this.#upstreams = upstreams;
    this.#unjoined = unjoined ?? (() => undefined);
    this.health = new HealthServer({
      unready: () => this.#unready(),
      metrics: () =>
        metrics.render({
          leases: grants.leases.stats(),
          ready: this.#unready() === undefined,
          upstreams: upstreams.stats(),
        }),
    });
  }

  /** Reads the roots now rather than at the first connection. */
  prewarm(): void {
    this.#upstreams.prewarm();
  }

  /** @throws CodedError PortInUse */
  async listenHealth(port: number, host: string): Promise<number> {
    const bound = await listening(host, port, this.health.listen(port, host));
    this.#ownPorts.add(bound);
    return bound;
  }

  /** @throws CodedError PortInUse */
  listenProxy(port: number, host: string): Promise<number> {
    return listening(host, port, this.proxy.listen(port, host));
  }

  /** @throws CodedError PortInUse */
  listenCaptured(port: number, host: string, capturedPort: number): Promise<number> {
    return listening(host, port, this.proxy.listenCaptured(port, host, capturedPort));
  }

  /** Takes nothing new, lets what runs finish for `graceMs`, tells the store of the last uses, and ends the session. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    await this.proxy.drain(graceMs);
    this.#upstreams.close();
    this.membership.closeEvents();
    await this.abandon();
  }

  /** Ends the session without having served. */
  async abandon(): Promise<void> {
    await Promise.race([this.#farewell(), delay(FAREWELL_MS)]);
    this.membership.leave();
    this.grants.close();
    this.health.close();
  }

  /** The last uses, then the end. */
  async #farewell(): Promise<void> {
    await this.#usage.flush();
    if (this.grants.ended === undefined) await this.membership.end();
  }

  #unready(): string | undefined {
    const { grants } = this;
    if (this.#stopping) return 'the sidecar is stopping';
    if (grants.ended !== undefined) return `the session has ended: ${grants.ended}`;
    const unjoined = this.#unjoined();
    if (unjoined !== undefined) return unjoined;
    return grants.ready ? undefined : 'the store has not said yet what this session may use';
  }
}

/** @throws CodedError with the code, naming what is wrong; errors that have one of ours keep it. */
export function orStartError<T>(code: StartErrorCode, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw isStartError(error) ? error : startError(code, `${START_ERRORS[code].help} (${errorText(error)})`);
  }
}

async function listening(host: string, port: number, bound: Promise<number>): Promise<number> {
  try {
    return await bound;
  } catch (error) {
    const code = errorCode(error);
    if (code !== 'EADDRINUSE' && code !== 'PortInUse') throw error;
    throw startError('PortInUse', `The sidecar cannot listen on ${host}:${port}: ${portInUse(port)}.`);
  }
}
