import type { CaStatus } from '../../api/admin.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Audit } from '../audit/audit.ts';
import type { Repository } from '../persist/repository.ts';
import type { Vault } from '../vault/vault.ts';
import { CA_BACKDATE_MS, makeIntermediate, makeRoot } from './caMaking.ts';
import {
  activeIntermediate,
  type CaRoot,
  type CaState,
  countByIssuer,
  issuerKeyName,
  type RootRotation,
  rootOf,
} from './caState.ts';
import { caStatus, rootRotationWaitsFor } from './caStatus.ts';
import { type CertificateAuthority, storedKey } from './certificateAuthority.ts';
import type { Identities } from './identities.ts';

/** How long one replica alone looks after what falls due. */
const WORK_SECONDS = 30;

export interface CaTimes {
  intermediateSeconds: number;
  intermediateRotateSeconds: number;
  rootRotateSeconds: number;
  /** Least time between the steps of a rotation: what was on its way (join tokens, other replicas) has arrived by then. */
  caSettleSeconds: number;
}

export interface CaRotationOptions {
  clock: Clock;
  repository: Repository;
  vault: Vault;
  audit: Audit;
  ca: CertificateAuthority;
  identities: Identities;
  times: CaTimes;
}

/**
 * Renews what the CA issues by, online. An intermediate is simply followed by the next one. A root is published beside the old one,
 * issues once every certificate from before has ended, so that whoever lives knows it, and the old one is dropped once nothing stands under it:
 * steps that depend on certificates rather than on clocks, so that no handshake fails at any time.
 */
export class CaRotation {
  readonly #o: CaRotationOptions;
  /** Since when, in monotonic milliseconds, nothing stands in the way of the next step. */
  #clearSinceMs: number | undefined;

  constructor(options: CaRotationOptions) {
    this.#o = options;
  }

  status(): CaStatus {
    const { ca, identities, times } = this.#o;
    return caStatus(ca.state, identities, times);
  }

  /** A new intermediate, or the begin of a change of the root; does nothing while one is under way. */
  async rotate(what: 'intermediate' | 'root', by: string): Promise<CaStatus> {
    // Another replica may have changed it a moment ago, and what is begun on an older state is dropped.
    await this.#o.ca.reload();
    const { state } = this.#o.ca;
    if (what === 'intermediate') await this.#nextIntermediate(rootOf(state, activeIntermediate(state).root), by);
    else if (state.rotation === undefined) await this.#publishRoot(by);
    return this.status();
  }

  /** Takes the step that is due, if one is. */
  async tick(): Promise<void> {
    await this.#o.ca.tick();
    const { repository } = this.#o;
    if (this.#due() === undefined || !(await repository.holdWork('ca', WORK_SECONDS))) return;
    // What other replicas have issued, or changed, until now counts too.
    await this.#o.ca.reload();
    await repository.caughtUp();
    const { phase } = this.#o.ca.state.rotation ?? {};
    await this.#due()?.();
    if (this.#o.ca.state.rotation?.phase !== phase) this.#clearSinceMs = undefined;
  }

  #due(): (() => Promise<void>) | undefined {
    const { state } = this.#o.ca;
    const { rotation } = state;
    const { times } = this.#o;
    if (rotation !== undefined && this.#mayStep(state, rotation))
      return rotation.phase === 'published' ? () => this.#switchRoot() : () => this.#dropRoot();
    const active = activeIntermediate(state);
    const root = rootOf(state, active.root);
    if (rotation === undefined && this.#older(root.createdAtMs, times.rootRotateSeconds))
      return () => this.#publishRoot('age');
    if (this.#older(active.createdAtMs, times.intermediateRotateSeconds))
      return () => this.#nextIntermediate(root, 'age');
    return this.#leftovers().length > 0 ? () => this.#forget() : undefined;
  }

  /** Whether nothing of before the last step is left, and has not been for so long that every answer has arrived. */
  #mayStep(state: CaState, { sinceMs }: RootRotation): boolean {
    const { clock, identities, times } = this.#o;
    if (rootRotationWaitsFor(state, identities) > 0) {
      this.#clearSinceMs = undefined;
      return false;
    }
    this.#clearSinceMs ??= clock.monotonicMs();
    const clearMs = clock.monotonicMs() - this.#clearSinceMs;
    return this.#older(sinceMs, times.caSettleSeconds) && clearMs >= times.caSettleSeconds * 1000;
  }

  async #nextIntermediate(root: CaRoot, by: string): Promise<void> {
    const { ca } = this.#o;
    await this.#extend(root, ca.state, { kind: 'ca.intermediate-rotated', by });
  }

  async #publishRoot(by: string): Promise<void> {
    const { ca, clock, vault } = this.#o;
    const { state } = ca;
    const { root, keyDer } = makeRoot(clock.nowMs());
    const sealed = await vault.sealOwn(root.keyName, keyDer);
    keyDer.fill(0);
    const old = rootOf(state, activeIntermediate(state).root);
    // Also a new intermediate under the old root: whoever has a certificate of it was told of the new root.
    await this.#extend(
      old,
      { ...state, roots: [...state.roots, root] },
      { kind: 'ca.root-published', by, root: root.id },
      {
        rotation: (known) => ({ phase: 'published', root: root.id, sinceMs: clock.nowMs(), known }),
        keys: [[root.keyName, sealed]],
      },
    );
  }

  async #switchRoot(): Promise<void> {
    const { ca, clock } = this.#o;
    const { state } = ca;
    const root = rootOf(state, state.rotation!.root);
    await this.#extend(
      root,
      state,
      { kind: 'ca.root-switched', root: root.id },
      {
        rotation: (known) => ({ phase: 'switched', root: root.id, sinceMs: clock.nowMs(), known }),
      },
    );
  }

  async #dropRoot(): Promise<void> {
    const { audit, ca } = this.#o;
    const { rotation, ...state } = ca.state;
    const dropped = state.roots.filter(({ id }) => id !== rotation!.root);
    const next: CaState = {
      roots: state.roots.filter(({ id }) => id === rotation!.root),
      intermediates: state.intermediates.filter(({ root }) => root === rotation!.root),
    };
    await ca.replace(next, async (tx) => {
      for (const { keyName } of dropped) await tx.meta.delete(keyName);
      await audit.append(tx, { kind: 'ca.root-dropped', roots: dropped.map(({ id }) => id) });
    });
  }

  /** Adds an intermediate below `root` to `state`; the key of the one before is not needed any more. */
  async #extend(
    root: CaRoot,
    state: CaState,
    event: { kind: string } & Record<string, unknown>,
    more: { rotation?: (known: string) => NonNullable<CaState['rotation']>; keys?: [string, Buffer][] } = {},
  ): Promise<void> {
    const { audit, ca, clock, times, vault } = this.#o;
    const before = activeIntermediate(ca.state);
    const rootKey = await storedKey(this.#o, root.keyName);
    const seconds = times.intermediateSeconds;
    const { intermediate, keyDer } = makeIntermediate({ root, rootKey, nowMs: clock.nowMs(), seconds });
    const sealed = await vault.sealOwn(issuerKeyName(intermediate), keyDer);
    keyDer.fill(0);
    const rotation = more.rotation?.(intermediate.id) ?? state.rotation;
    const next: CaState = {
      roots: state.roots,
      intermediates: [...state.intermediates, intermediate],
      ...(rotation && { rotation }),
    };
    await ca.replace(next, async (tx) => {
      for (const [name, key] of [...(more.keys ?? []), [issuerKeyName(intermediate), sealed] as const])
        await tx.meta.set(name, key);
      await tx.meta.delete(issuerKeyName(before));
      await audit.append(tx, { ...event, intermediate: intermediate.id });
    });
  }

  /** Intermediates that nothing stands under any more, and of which nothing is on its way. */
  #leftovers(): string[] {
    const { ca, identities, times } = this.#o;
    const { intermediates, rotation } = ca.state;
    const active = intermediates.at(-1)!;
    if (intermediates.length === 1 || !this.#older(active.createdAtMs, times.caSettleSeconds)) return [];
    const counts = countByIssuer(ca.state, identities.serials());
    return intermediates
      .map(({ id }) => id)
      .filter((id) => id !== active.id && id !== rotation?.known && !counts.has(id));
  }

  async #forget(): Promise<void> {
    const { ca } = this.#o;
    const gone = new Set(this.#leftovers());
    const intermediates = ca.state.intermediates.filter(({ id }) => !gone.has(id));
    await ca.replace({ ...ca.state, intermediates }, async () => {});
  }

  /** Also where the clock was set so far back that what was made then would not be valid yet. */
  #older(sinceMs: number, seconds: number): boolean {
    const ageMs = this.#o.clock.nowMs() - sinceMs;
    return ageMs < -CA_BACKDATE_MS || ageMs >= seconds * 1000;
  }
}
