import { authorityText } from '../decide/authority.ts';
import { decide, stillAllows } from '../decide/decide.ts';
import { type Located, locate } from '../decide/locate.ts';
import { overridingField } from '../decide/override.ts';
import { type Refusal, refuse } from '../errors.ts';
import type { Entry } from '../grants/entry.ts';
import type { HeldLease } from '../grants/lease.ts';
import { unusableGrants } from '../grants/unusable.ts';
import type { RequestHead } from '../http1/message.ts';
import type { UpstreamConnection } from '../upstream/upstreams.ts';
import type { AgentSide } from './agentSide.ts';
import { targetOf } from './target.ts';

/** What one request was cleared for: where it goes, under which Integration, with which lease, and so over which connections. */
export class Clearance {
  readonly #agent: AgentSide;
  readonly #request: RequestHead;
  #located: Located | undefined;
  #entry: Entry | undefined;
  #denying: Entry | undefined;
  #lease: HeldLease | undefined;
  #requestId: string | undefined;
  /** The lease that the use on record is of. */
  #recorded: HeldLease | undefined;
  #cancel: (() => void) | undefined;

  constructor(agent: AgentSide, request: RequestHead) {
    this.#agent = agent;
    this.#request = request;
  }

  /** Undefined until it is known, and for ever where the request was refused before. */
  get located(): Located | undefined {
    return this.#located;
  }

  /** `host:port`, or empty where the request never got so far. */
  get authority(): string {
    return this.#located === undefined ? '' : authorityText(this.#located.authority);
  }

  /** The Integration whose credential goes along. */
  get entry(): Entry | undefined {
    return this.#entry;
  }

  /** The Integration that goes on record: the one whose credential goes along, or whose rules or limits refuse the request. */
  get concerned(): Entry | undefined {
    return this.#entry ?? this.#denying;
  }

  /** In use until `release`, whatever becomes of it meanwhile. */
  get lease(): HeldLease | undefined {
    return this.#lease;
  }

  /** By which the use was put on record before it happened; undefined where that was not asked for. */
  get requestId(): string | undefined {
    return this.#requestId;
  }

  /** Calls back within a bounded time: when there is something to decide by, or at once if too many wait for that already. */
  awaitGrants(callback: () => void): void {
    const { grants } = this.#agent.context.deps;
    let full = false;
    this.#await((settled) => {
      const leave = grants.wait(() => {
        if (settled()) callback();
      });
      full = leave === undefined;
      return leave ?? nothing;
    });
    if (full) callback();
  }

  /** The decision, made once for each request by the table of this moment. */
  decide(): Refusal | undefined {
    const { deps, draining } = this.#agent.context;
    const { grants } = deps;
    if (draining) return refuse('Draining', 'The sidecar takes no new requests.', 1);
    const unusable = unusableGrants(grants);
    if (unusable !== undefined) return unusable;
    const located = locate(this.#agent.door, this.#request, grants.table);
    if ('kind' in located) return located;
    this.#located = located;
    const { alias, authority, path, query, via } = located;
    const { method, text } = this.#request;
    const request = { method, authority, path, query, via, alias, text };
    const decision = decide(grants.table, request, deps.egress, deps.clock.monotonicMs());
    if (decision.kind === 'refuse') {
      this.#denying = decision.entry;
      return decision;
    }
    if (decision.kind === 'credential') {
      const { entry } = decision;
      const field = overridingField(this.#request.fields, entry.rules);
      if (field !== undefined) {
        this.#denying = entry;
        return refuse(
          'RuleDenied',
          `Integration ${entry.integration} has rules, and ${field} asks for something that they do not see; leave it out`,
        );
      }
      this.#entry = entry;
    }
    return undefined;
  }

  /** Whether the Integration, as it is now, would still let the request have its credential; limits aside. */
  get stands(): boolean {
    const { authority, path } = this.#located!;
    const request = { authority, path, method: this.#request.method };
    return stillAllows(this.#agent.context.deps.grants.table, this.#entry!, request);
  }

  /** Calls back with why there is no lease, or undefined: there is one, or none is needed. */
  obtainLease(callback: (refusal: Refusal | undefined) => void): void {
    if (this.#entry === undefined) {
      callback(undefined);
      return;
    }
    const { leases } = this.#agent.context.deps.grants;
    const { credential } = this.#entry;
    const held = leases.held(credential);
    if (held !== undefined) {
      this.#use(held);
      callback(undefined);
      return;
    }
    this.#await((settled) =>
      leases.obtain(credential, (result) => {
        if (!settled()) return;
        const refused = 'kind' in result;
        if (!refused) this.#use(result);
        callback(refused ? result : undefined);
      }),
    );
  }

  /** After a 401: calls back with whether a newer version of the credential has taken the place of the refused one. */
  refresh(callback: (newer: boolean) => void): void {
    const { credential, version } = this.#lease!;
    this.#await((settled) =>
      this.#agent.context.deps.grants.leases.refresh(credential, version, (result) => {
        if (!settled()) return;
        const newer = !('kind' in result) && result.version !== version;
        if (newer) this.#use(result);
        callback(newer);
      }),
    );
  }

  /** Where the Credential asks for it, calls back once this use of the lease is durable in the audit, or with why it cannot be. */
  putOnRecord(callback: (refusal: Refusal | undefined) => void): void {
    const entry = this.#entry;
    const lease = this.#lease;
    if (entry?.grant.auditStrict !== true || lease === undefined || this.#recorded === lease) {
      callback(undefined);
      return;
    }
    const { usage } = this.#agent.context.deps;
    this.#requestId ??= usage.nextId();
    const { path } = this.#located!;
    const { authority } = this;
    const { method } = this.#request;
    this.#await((settled) =>
      usage.intend({ requestId: this.#requestId!, authority, method, path, entry, lease }, (refusal) => {
        if (!settled()) return;
        if (refusal === undefined) this.#recorded = lease;
        callback(refusal);
      }),
    );
  }

  connect(fresh: boolean, callback: (result: UpstreamConnection | Refusal) => void): void {
    const target = targetOf(this.#located!.authority, this.#entry, this.#lease);
    this.#await((settled) =>
      this.#agent.context.deps.upstreams.acquire(target, fresh, (result) => {
        if (settled()) callback(result);
      }),
    );
  }

  /** Calls off what is being waited for. */
  cancel(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** Gives the lease's bytes up. */
  release(): void {
    this.cancel();
    this.#lease?.release();
    this.#lease = undefined;
    this.#recorded = undefined;
  }

  #use(lease: HeldLease): void {
    lease.retain();
    this.#lease?.release();
    this.#lease = lease;
  }

  /** Starts what calls back now or later, unless it is called off before. */
  #await(begin: (settled: () => boolean) => () => void): void {
    let waiting = true;
    const cancel = begin(() => {
      if (!waiting) return false;
      waiting = false;
      this.#cancel = undefined;
      return true;
    });
    if (!waiting) return;
    this.#cancel = () => {
      waiting = false;
      cancel();
    };
  }
}

function nothing(): void {}
