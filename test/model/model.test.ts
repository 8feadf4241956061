import { expect, test } from 'vitest';
import type { Store } from '../../store/core.ts';
import { modelHistories } from './histories.ts';

/** make chaos has more, from other seeds. */
const SEED = 20_261_125;

test('200 random histories of a store on SQLite go as those of the model: no lease without its record or after a revocation, no version goes back, the chain verifies', {
  timeout: 120_000,
}, async () => {
  expect((await modelHistories({ engine: 'sqlite', seed: SEED, rounds: 200 })).rounds).toBe(200);
});

test('10 random histories of a store on PostgreSQL go as those of the model', { timeout: 120_000 }, async () => {
  expect((await modelHistories({ engine: 'postgres', seed: SEED, rounds: 10 })).rounds).toBe(10);
});

/** A store that breaks a promise, and what the model says of it. */
const BROKEN: [string, (store: Store) => void, RegExp][] = [
  [
    'gives leases that are not on record',
    ({ audit }) => {
      const append = audit.append.bind(audit);
      audit.append = async (tx, event) => (event.kind === 'lease.issued' ? undefined : append(tx, event));
    },
    /leases without their record/,
  ],
  [
    'gives leases of what is revoked',
    ({ state }) => {
      state.revokedBy = () => undefined;
    },
    /was given, and Revoked was due/,
  ],
  [
    'forgets what it has acknowledged',
    ({ materials, repository }) => {
      const set = materials.set.bind(materials);
      materials.set = async (credential, frame, by) => {
        const stored = await set(credential, frame, by);
        await repository.transaction((tx) => tx.materials.delete(credential));
        return stored;
      };
    },
    /MaterialMissing|lost what was acknowledged/,
  ],
  [
    'changes its audit afterwards',
    ({ repository, sessions }) => {
      const end = sessions.end.bind(sessions);
      sessions.end = async (session, reason) => {
        await end(session, reason);
        await repository.transaction(async (tx) => {
          const head = await tx.audit.head(repository.chain);
          const [last] = await tx.audit.entries(repository.chain, head!.seq - 1, 1);
          await tx.audit.prune(repository.chain, head!.seq);
          const forged = { ...last!, seq: head!.seq + 1, event: { kind: 'session.ended', session: 'another' } };
          await tx.audit.append(repository.chain, forged, { ...head!, seq: head!.seq + 1 });
        });
      };
    },
    /^history/,
  ],
];

test.each(BROKEN)('the model sees a store that %s', async (_, sabotage, message) => {
  const told = modelHistories({ engine: 'sqlite', seed: SEED, rounds: 40, sabotage }).catch(
    (error: Error) => error.message,
  );
  expect(await told).toMatch(message);
});
