import { deepEqual, equal, ok } from 'node:assert/strict';
import { type Selector, selectorId } from '../../api/revocation.ts';
import { verifyAudit } from '../../lib/auditVerify.ts';
import { KekError } from '../../store/vault/kek.ts';
import type { Random } from '../chaos/random.ts';
import { GENERATED, KEYS, type SessionIdentity, type World } from './world.ts';

const SELECTORS: readonly Selector[] = [
  { credential: KEYS[0] },
  { credential: GENERATED },
  { tag: 'llm' },
  { role: 'coder', namespace: 'default' },
  { namespace: 'default' },
  { everything: true },
];
const ADVANCE_LIMIT_SECONDS = 120;

interface Known {
  /** What was acknowledged last; undefined: there is none. */
  materials: Map<string, { version: number; value: string } | undefined>;
  revocations: Map<string, Selector>;
  /** Ids of leases whose record must be in the audit. */
  leases: Set<string>;
  auditKeys: number;
}

/** One history: random operations on a store and, beside it, on the simplest thing that could be one. @throws AssertionError where they differ */
export class History {
  /** What was done, for the report of a failure. */
  readonly steps: string[] = [];
  readonly counts: Record<string, number> = {};
  readonly #world: World;
  readonly #random: Random;
  #known: Known = { materials: new Map(), revocations: new Map(), leases: new Set(), auditKeys: 0 };
  #living: SessionIdentity[] = [];
  #ended: SessionIdentity[] = [];
  /** Highest version that was ever told, by credential: of this epoch, and of all. */
  #leased = new Map<string, number>();
  #highest = new Map<string, number>();
  #backup: { path: string; known: Known } | undefined;
  #values = 0;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  async run(steps: number): Promise<void> {
    const operations: Record<string, () => Promise<void>> = {
      put: () => this.#put(),
      putAgain: () => this.#put(),
      lease: () => this.#lease(),
      leaseAgain: () => this.#lease(),
      leaseOnce: () => this.#lease(),
      revoke: () => this.#revoke(),
      lift: () => this.#lift(),
      liftAgain: () => this.#lift(),
      join: () => this.#join(),
      end: () => this.#end(),
      removeMaterial: () => this.#removeMaterial(),
      time: () => this.#time(),
      restart: () => this.#restart(),
      kill: () => this.#struck(() => this.#world.kill()),
      partition: () => this.#struck(() => this.#world.partition()),
      backup: () => this.#backUp(),
      restore: () => this.#restore(),
      rotateKeys: () => this.#rotateKeys(),
    };
    const names = Object.keys(operations);
    await this.#join();
    for (let step = 0; step < steps; step += 1) {
      const name = this.#random.pick(names);
      this.steps.push(name);
      this.counts[name] = (this.counts[name] ?? 0) + 1;
      await operations[name]!();
    }
    await this.#restart();
    for (const identity of [...this.#living, ...this.#ended])
      for (const key of KEYS) await this.#leaseOf(identity, key);
    await this.#checkAudit();
  }

  async #put(): Promise<void> {
    const key = this.#random.pick(KEYS);
    const value = this.#value();
    this.#written(key, await this.#world.put(key, value), value);
  }

  #value(): string {
    this.#values += 1;
    return `value ${this.#values}`;
  }

  #written(key: string, version: number, value: string): void {
    const before = this.#highest.get(key) ?? 0;
    ok(version > before, `${key} has version ${version} after ${before}`);
    this.#highest.set(key, version);
    this.#known.materials.set(key, { version, value });
  }

  #lease(): Promise<void> {
    const identity = this.#random.pick([...this.#living, ...this.#living, ...this.#ended]);
    return identity === undefined ? this.#join() : this.#leaseOf(identity, this.#random.pick([...KEYS, GENERATED]));
  }

  async #leaseOf(identity: SessionIdentity, key: string): Promise<void> {
    const expected = this.#refusal(identity, key);
    let got: Awaited<ReturnType<World['lease']>>;
    try {
      got = await this.#world.lease(identity, key);
    } catch (error) {
      const { code } = error as { code?: string };
      equal(code, expected, `a lease of ${key} was refused: ${String(error)}`);
      return;
    }
    equal(undefined, expected, `a lease of ${key} was given, and ${expected} was due`);
    this.#known.leases.add(got.id);
    const before = this.#leased.get(key) ?? 0;
    ok(got.version >= before, `a lease of ${key} has version ${got.version} after ${before}`);
    this.#leased.set(key, got.version);
    if (key === GENERATED) return;
    deepEqual({ version: got.version, value: got.value }, this.#known.materials.get(key));
  }

  #refusal(identity: SessionIdentity, key: string): string | undefined {
    if (!this.#living.includes(identity)) return 'IdentityRevoked';
    for (const selector of this.#known.revocations.values())
      if (!('credential' in selector) || selector.credential === key) return 'Revoked';
    return key === GENERATED || this.#known.materials.get(key) !== undefined ? undefined : 'MaterialMissing';
  }

  async #revoke(): Promise<void> {
    const selector = this.#random.pick(SELECTORS);
    const { already } = await this.#world.store.revocations.revoke({ selector }, 'test');
    const id = selectorId(selector);
    equal(already, this.#known.revocations.has(id));
    this.#known.revocations.set(id, selector);
  }

  async #lift(): Promise<void> {
    const id = this.#random.pick([...this.#known.revocations.keys()]);
    if (id === undefined) return;
    await this.#world.store.revocations.lift(id, 'test');
    this.#known.revocations.delete(id);
  }

  async #join(): Promise<void> {
    this.#living.push(await this.#world.join());
  }

  async #end(): Promise<void> {
    const identity = this.#random.pick(this.#living);
    if (identity === undefined) return;
    await this.#world.store.sessions.end(identity.session, 'test');
    this.#living = this.#living.filter((other) => other !== identity);
    this.#ended.push(identity);
  }

  async #removeMaterial(): Promise<void> {
    const key = this.#random.pick(KEYS);
    if (this.#known.materials.get(key) === undefined) return;
    await this.#world.store.materials.remove(key, 'test');
    this.#known.materials.set(key, undefined);
  }

  async #time(): Promise<void> {
    this.#world.clock.advance(1 + this.#random.below(ADVANCE_LIMIT_SECONDS));
    await this.#world.store.tick();
  }

  async #restart(): Promise<void> {
    await this.#world.close();
    await this.#world.open();
  }

  /** Something happens while several writes are under way: those that were answered count, the others may have been done or not. */
  async #struck(strike: () => Promise<void>): Promise<void> {
    const world = this.#world;
    const selector = this.#random.pick(SELECTORS);
    const id = selectorId(selector);
    const wasStanding = this.#known.revocations.has(id);
    const answered: (() => void)[] = [];
    let over = false;
    const under = (work: Promise<() => void>) =>
      work.then(
        (told) => {
          if (!over) answered.push(told);
        },
        () => {},
      );
    const values = KEYS.map(() => this.#value());
    const all = KEYS.map((key, index) =>
      under(world.put(key, values[index]!).then((version) => () => this.#written(key, version, values[index]!))),
    );
    all.push(
      under(
        world.store.revocations
          .revoke({ selector }, 'test')
          .then(() => () => this.#known.revocations.set(id, selector)),
      ),
    );
    const identity = this.#random.pick(this.#living);
    if (identity !== undefined)
      all.push(
        under(world.lease(identity, this.#random.pick(KEYS)).then((lease) => () => this.#known.leases.add(lease.id))),
      );
    for (let turn = this.#random.below(12); turn > 0; turn -= 1) await new Promise((resolve) => setImmediate(resolve));
    const striking = strike();
    // Of a killed process nothing is heard any more; the strike has copied its files by now.
    over = world.databaseUrl === undefined && this.steps.at(-1) === 'kill';
    await striking;
    await Promise.all(all);
    for (const told of answered) told();
    await this.#learn(id, selector, wasStanding, values);
  }

  /** Takes up what was done without an answer, and nothing else. */
  async #learn(id: string, selector: Selector, wasStanding: boolean, values: readonly string[]): Promise<void> {
    const { repository } = this.#world.store;
    for (const [index, key] of KEYS.entries()) {
      const found = await this.#world.stored(key);
      const known = this.#known.materials.get(key);
      if (found?.version === known?.version) deepEqual(found, known, `what ${key} holds`);
      else {
        equal(found?.value, values[index], `${key} holds what nobody wrote, or lost what was acknowledged`);
        this.#written(key, found!.version, found!.value);
      }
    }
    const stands = (await repository.transaction((tx) => tx.revocations.all())).some((row) => row.id === id);
    if (wasStanding || this.#known.revocations.has(id)) equal(stands, true, `the revocation ${id} is forgotten`);
    if (stands) this.#known.revocations.set(id, selector);
  }

  async #backUp(): Promise<void> {
    const { auditKeys, leases, materials, revocations } = this.#known;
    const known = {
      auditKeys,
      leases: new Set(leases),
      materials: new Map(materials),
      revocations: new Map(revocations),
    };
    try {
      this.#backup = { path: await this.#world.backUp(), known };
    } catch (error) {
      // One that goes on while a rotation of the KEK ends may break off, for what it reads is under the key that has gone.
      if (!(error instanceof KekError)) throw error;
      this.counts.backupBrokenOff = (this.counts.backupBrokenOff ?? 0) + 1;
    }
  }

  async #restore(): Promise<void> {
    if (this.#backup === undefined) return;
    const { known, path } = this.#backup;
    const before = this.#known;
    await this.#world.restore(path);
    const materials = new Map(known.materials);
    const revocations = new Map(known.revocations);
    // Where the old database is at hand, what it took away stays away.
    const carries = this.#world.databaseUrl === undefined;
    if (carries) {
      for (const key of KEYS) if (before.materials.get(key) === undefined) materials.set(key, undefined);
      for (const [id, selector] of before.revocations) revocations.set(id, selector);
    }
    const carriesAudit = carries && before.auditKeys === known.auditKeys;
    const leases = new Set(carriesAudit ? before.leases : known.leases);
    this.#known = { auditKeys: known.auditKeys, leases, materials, revocations };
    this.#ended.push(...this.#living);
    this.#living = [];
    this.#leased.clear();
    // Another backup of before would be of another epoch, which is fine; one of the chain that is gone would not tell what was carried.
    this.#backup = undefined;
  }

  async #rotateKeys(): Promise<void> {
    const { audit, caRotation, kek } = this.#world.store;
    const what = this.#random.below(3);
    if (what === 0) await kek.start(undefined, 'test');
    else if (what === 1) await caRotation.rotate('intermediate', 'test');
    else {
      await audit.rotateKey('test');
      this.#known.auditKeys += 1;
    }
  }

  async #checkAudit(): Promise<void> {
    const { audit, repository } = this.#world.store;
    const chains = await audit.chains();
    const entries = [];
    for (const { chain } of chains)
      entries.push(...(await repository.transaction((tx) => tx.audit.entries(chain, 0, 1e6))));
    const { problems } = await verifyAudit(
      entries,
      chains.flatMap(({ head }) => head ?? []),
    );
    deepEqual(problems, [], 'the chain does not verify');
    const issued = new Set(entries.map(({ event }) => event.kind === 'lease.issued' && event.lease));
    deepEqual(
      [...this.#known.leases].filter((id) => !issued.has(id)),
      [],
      'leases without their record',
    );
  }
}
