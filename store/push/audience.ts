import { createHash, randomBytes } from 'node:crypto';
import type { Grant } from '../../api/grant.ts';
import type { RevokedGrant, SessionEvent } from '../../api/protocol.ts';
import type { Session } from '../../api/session.ts';
import type { State } from '../state.ts';

/** Steps that are kept for readers that lag or come back; whoever is further behind gets everything anew. */
const STEP_LIMIT = 32;
const DIGEST_BYTES = 32;

/** What one commit changed: lines to send, without and with the cursor that they lead to. */
interface Step {
  readonly plain: Buffer;
  readonly withCursor: Buffer;
}

/** How a reader that comes back goes on: with what it missed, or from the start. */
export interface Opening {
  readonly lines: Buffer;
  readonly step: number;
}

/**
 * All sessions to which the same is granted, and what they are told: computed once for all of them. Each commit that changes something
 * for them is a step; readers walk the steps in order, so that none misses that something was revoked and granted again.
 */
export class Audience {
  readonly key: string;
  readonly namespace: string;
  readonly #session: Session;
  readonly #state: State;
  /** Integration → its grant as it was told. */
  readonly #told = new Map<string, { json: string; credential: string; revoked: boolean }>();
  readonly #versions = new Map<string, number>();
  /** Integrations in #told by credential. */
  readonly #uses = new Map<string, number>();
  /** XOR of the digests of all that is told: changes with each, whatever the order. */
  readonly #digest = Buffer.alloc(DIGEST_BYTES);
  /** Marks the cursors of this audience: the numbers of another's steps, such as of the process before, say nothing here. */
  readonly #epoch = randomBytes(6).toString('base64url');
  readonly #steps: Step[] = [];
  #step = 0;
  #snapshot: Record<'plain' | 'withCursor', Buffer> | undefined;

  constructor(session: Session, state: State) {
    this.key = audienceKey(session);
    this.namespace = session.namespace;
    this.#session = session;
    this.#state = state;
    for (const grant of state.grantsOf(session)) this.#remember(grant.integration, { grant });
    for (const revoked of state.revokedOf(session)) this.#remember(revoked.grant.integration, { revoked });
    for (const credential of this.#uses.keys()) this.#setVersion(credential, state.versionOf(credential));
  }

  /** Number of the newest step. */
  get step(): number {
    return this.#step;
  }

  /**
   * Says in which state somebody is who has been told everything: the same content has the same cursor in every process, and in this
   * one it also says after which step.
   */
  get cursor(): string {
    return `${this.#digest.toString('base64url')}.${this.#epoch}.${this.#step}`;
  }

  /** Looks again at what a change may have touched; true if it leads to a step. A grant is told before the version of its credential. */
  update(integrations: Iterable<string>, credentials: Iterable<string>): boolean {
    const lines: string[] = [];
    const touched = new Set(credentials);
    for (const integration of integrations) {
      const grant = this.#state.grant(this.#session, integration);
      const before = this.#told.get(integration);
      if (before !== undefined) touched.add(before.credential);
      if (grant !== undefined) touched.add(grant.credential);
      const revoked = grant === undefined ? this.#state.revoked(this.#session, integration) : undefined;
      if (!this.#remember(integration, { grant, revoked })) continue;
      if (grant !== undefined) lines.push(line({ type: 'grant', grant }));
      else lines.push(line({ type: 'revoke', integration, ...(revoked && { revoked }) }));
    }
    for (const credential of touched) {
      const version = this.#uses.has(credential) ? this.#state.versionOf(credential) : undefined;
      if (this.#setVersion(credential, version) && version !== undefined)
        lines.push(line({ type: 'version', credential, version }));
    }
    if (lines.length === 0) return false;
    this.#step += 1;
    this.#snapshot = undefined;
    const marked = [...lines];
    marked.push(withCursor(marked.pop()!, this.cursor));
    this.#steps.push({ plain: bytesOf(lines), withCursor: bytesOf(marked) });
    if (this.#steps.length > STEP_LIMIT) this.#steps.shift();
    return true;
  }

  /** The keys of all Integrations that are granted or might be. */
  get integrations(): Iterable<string> {
    return new Set([...this.#told.keys(), ...this.#state.integrationsIn(this.namespace)]);
  }

  /** For a reader that saw `cursor` last, if it says so; without one it wants none. */
  open(cursor: string | undefined): Opening {
    const missed = cursor === undefined ? undefined : this.#missed(cursor);
    if (missed === undefined) return { lines: this.#whole(cursor !== undefined), step: this.#step };
    const first = missed === 0 ? { type: 'resumed', cursor: this.cursor } : { type: 'resumed' };
    const lines = this.#steps.slice(this.#steps.length - missed).map((step) => step.withCursor);
    return { lines: Buffer.concat([Buffer.from(line(first as SessionEvent)), ...lines]), step: this.#step };
  }

  /** What a reader that was told everything up to `step` is to be told now. */
  since(step: number, cursors: boolean): Buffer {
    const missed = this.#step - step;
    if (missed > this.#steps.length) return this.#whole(cursors);
    const lines = this.#steps.slice(this.#steps.length - missed).map((one) => (cursors ? one.withCursor : one.plain));
    return lines.length === 1 ? lines[0]! : Buffer.concat(lines);
  }

  /** How many steps a cursor is behind; undefined if nothing is known of it. */
  #missed(cursor: string): number | undefined {
    const [digest, epoch, step] = cursor.split('.');
    if (epoch !== this.#epoch) return digest === this.#digest.toString('base64url') ? 0 : undefined;
    const missed = this.#step - Number(step);
    return Number.isSafeInteger(missed) && missed >= 0 && missed <= this.#steps.length ? missed : undefined;
  }

  #whole(cursors: boolean): Buffer {
    if (this.#snapshot === undefined) {
      const told = Map.groupBy(this.#told.values(), ({ revoked }) => revoked);
      const list = (revoked: boolean) => `[${(told.get(revoked) ?? []).map(({ json }) => json).join(',')}]`;
      const versions = JSON.stringify(Object.fromEntries(this.#versions));
      const revoked = told.has(true) ? `,"revoked":${list(true)}` : '';
      const text = `{"type":"snapshot","grants":${list(false)},"versions":${versions}${revoked}}\n`;
      this.#snapshot = { plain: Buffer.from(text), withCursor: Buffer.from(withCursor(text, this.cursor)) };
    }
    return this.#snapshot[cursors ? 'withCursor' : 'plain'];
  }

  /** Whether it was told differently before. */
  #remember(
    integration: string,
    { grant, revoked }: { grant?: Grant | undefined; revoked?: RevokedGrant | undefined },
  ): boolean {
    const now = grant ?? revoked;
    const json = now === undefined ? undefined : JSON.stringify(now);
    const before = this.#told.get(integration);
    if (before?.json === json) return false;
    if (before !== undefined) {
      this.#mix(before.json);
      if (!before.revoked) this.#count(before.credential, -1);
      this.#told.delete(integration);
    }
    const credential = (grant ?? revoked?.grant)?.credential;
    if (credential !== undefined && json !== undefined) {
      this.#mix(json);
      if (grant !== undefined) this.#count(credential, 1);
      this.#told.set(integration, { json, credential, revoked: grant === undefined });
    }
    return true;
  }

  #setVersion(credential: string, version: number | undefined): boolean {
    const before = this.#versions.get(credential);
    if (before === version) return false;
    if (before !== undefined) this.#mix(`${credential}@${before}`);
    if (version === undefined) this.#versions.delete(credential);
    else {
      this.#mix(`${credential}@${version}`);
      this.#versions.set(credential, version);
    }
    return true;
  }

  #count(credential: string, by: number): void {
    const uses = (this.#uses.get(credential) ?? 0) + by;
    if (uses === 0) this.#uses.delete(credential);
    else this.#uses.set(credential, uses);
  }

  #mix(text: string): void {
    const digest = createHash('sha256').update(text).digest();
    for (let i = 0; i < DIGEST_BYTES; i += 1) this.#digest[i]! ^= digest[i]!;
  }
}

/** Sessions with the same key are granted the same. */
export function audienceKey({ namespace, serviceAccount, role, tags }: Session): string {
  return JSON.stringify([namespace, serviceAccount, role ?? null, [...tags].sort()]);
}

function line(event: SessionEvent): string {
  return `${JSON.stringify(event)}\n`;
}

/** The line with one member more. */
function withCursor(text: string, cursor: string): string {
  return `${text.slice(0, -2)},"cursor":${JSON.stringify(cursor)}}\n`;
}

function bytesOf(lines: readonly string[]): Buffer {
  return Buffer.from(lines.join(''));
}
