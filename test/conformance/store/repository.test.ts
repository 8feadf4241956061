import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { AuditEntry, AuditHead } from '../../../api/admin.ts';
import type {
  Change,
  LeaseRow,
  Repository,
  RevocationRow,
  SealedMaterial,
  Transaction,
} from '../../../store/persist/repository.ts';
import { credentialRecord, integrationRecord, session } from '../../../store/testing/records.ts';
import { ENGINES, type Opener } from './engines.ts';

describe.each(ENGINES)('the repository over $name', (engine) => {
  let database: Opener;
  let repository: Repository;

  beforeAll(() => engine.start());
  afterAll(() => engine.stop());
  beforeEach(async () => {
    database = await engine.empty();
    repository = await database.open();
  });
  afterEach(async () => {
    await repository.close();
    await database.remove();
  });

  const run = <T>(work: (tx: Transaction) => Promise<T>) => repository.transaction(work);
  const reopen = async () => {
    await repository.close();
    repository = await database.open();
  };
  const settled = (promises: Promise<unknown>[]) =>
    Promise.allSettled(promises).then((all) =>
      all.map((one) => (one.status === 'rejected' ? String(one.reason) : 'done')),
    );

  const key = (text: string) => ({ kekId: 'kek', wrapped: Buffer.from(text) });
  const material = (version: number, changes: Partial<SealedMaterial> = {}): SealedMaterial => ({
    credential: 'default/key',
    version,
    origin: 'secret',
    fields: ['value', 'user'],
    writtenAtMs: 1_700_000_000_000 + version,
    sealed: Buffer.from([0, 255, version, 10, 0]),
    ...changes,
  });
  const lease = (changes: Partial<LeaseRow> = {}): LeaseRow => ({
    id: 'lease-1',
    sessionId: 'session-1',
    credential: 'default/key',
    version: 1,
    issuedAtMs: 1_000,
    expiresAtMs: 2_000,
    ...changes,
  });
  const headOf = (seq: number): AuditHead => ({
    seq,
    hash: `hash ${seq}`,
    at: 'now',
    signature: 's',
    publicKeyPem: 'p',
  });
  const entryOf = (seq: number, at = `2026-01-01T00:00:0${seq}.000Z`): AuditEntry => ({
    seq,
    at,
    event: { kind: 'test.happened', text: 'ünï\0cödé \ud800', nested: { n: [seq, null, 1.5] } },
    previousHash: `hash ${seq - 1}`,
    hash: `hash ${seq}`,
  });

  describe('keeps', () => {
    test('meta: set, replaced, listed by prefix in order, deleted', async () => {
      const bytes = Buffer.from([0, 1, 255, 0]);
      await run(async (tx) => {
        await tx.meta.set('b%_ 2', Buffer.from('old'));
        await tx.meta.set('b%_ 2', bytes);
        await tx.meta.set('b%_ 1', Buffer.alloc(0));
        await tx.meta.set('bxx 3', bytes);
        await tx.meta.set('B%_ 4', bytes);
      });
      await reopen();
      await run(async (tx) => {
        expect(await tx.meta.get('b%_ 2')).toEqual(bytes);
        expect(await tx.meta.get('b%_ 1')).toEqual(Buffer.alloc(0));
        expect(await tx.meta.get('none')).toBeUndefined();
        expect(await tx.meta.names('b%_ ')).toEqual(['b%_ 1', 'b%_ 2']);
        await tx.meta.delete('b%_ 1');
        await tx.meta.delete('none');
        expect(await tx.meta.names('b%_ ')).toEqual(['b%_ 2']);
      });
    });

    test('credentials and integrations: put, replaced, deleted, loaded', async () => {
      const changed = credentialRecord({ leaseSeconds: 60, hosts: ['ü.example'] });
      await run(async (tx) => {
        await tx.credentials.put('default/key', credentialRecord());
        await tx.credentials.put('default/key', changed);
        await tx.credentials.put('default/gone', credentialRecord());
        await tx.credentials.delete('default/gone');
        await tx.integrations.put('default/it', integrationRecord({ hosts: ['old'] }));
        await tx.integrations.put('default/it', integrationRecord());
        await tx.integrations.put('default/gone', integrationRecord());
        await tx.integrations.delete('default/gone');
      });
      await reopen();
      await run(async (tx) => {
        expect(await tx.credentials.get('default/key')).toEqual(changed);
        expect(await tx.credentials.get('default/gone')).toBeUndefined();
        expect(await tx.integrations.get('default/it')).toEqual(integrationRecord());
        expect(await tx.integrations.get('default/gone')).toBeUndefined();
      });
      expect(await repository.load()).toMatchObject({
        credentials: [{ key: 'default/key', record: changed }],
        integrations: [{ key: 'default/it', record: integrationRecord() }],
      });
    });

    test('data keys: replaced, and in pages in order of their credentials', async () => {
      const names = ['a/b', 'a-b/c', 'b/Z', 'b/a', 'ü/x'];
      await run(async (tx) => {
        for (const name of names) await tx.dataKeys.put(name, key('old'));
        for (const name of names) await tx.dataKeys.put(name, key(name));
      });
      await reopen();
      const pages = await run(async (tx) => {
        expect(await tx.dataKeys.get('b/Z')).toEqual(key('b/Z'));
        expect(await tx.dataKeys.get('none')).toBeUndefined();
        const first = await tx.dataKeys.page('', 2);
        const second = await tx.dataKeys.page(first.at(-1)!.credential, 2);
        return [first, second, await tx.dataKeys.page(second.at(-1)!.credential, 2), await tx.dataKeys.page('ü/x', 2)];
      });
      const inOrder = [...names].sort().map((credential) => ({ credential, key: key(credential) }));
      expect(pages).toEqual([inOrder.slice(0, 2), inOrder.slice(2, 4), inOrder.slice(4), []]);
    });

    test('material: the newest version with its bytes, old ones until they are deleted', async () => {
      await run(async (tx) => {
        await tx.dataKeys.put('default/key', key('k'));
        for (const version of [1, 2, 3]) await tx.materials.put(material(version));
        await tx.materials.deleteBefore('default/key', 3);
      });
      await reopen();
      expect(await run((tx) => tx.materials.newest('default/key'))).toEqual(material(3));
      const { sealed: _, ...head } = material(3);
      expect((await repository.load()).materials).toEqual([head]);
    });

    test('versions that never go back, also when the material was deleted', async () => {
      const write = (version: number) =>
        run(async (tx) => {
          await tx.dataKeys.put('default/key', key('k'));
          await tx.materials.put(material(version));
        });
      await write(7);
      await run((tx) => tx.materials.delete('default/key'));
      await reopen();
      expect(await run((tx) => tx.materials.lastVersion('default/key'))).toBe(7);
      expect(await run((tx) => tx.materials.lastVersion('default/none'))).toBe(0);
      expect(await settled([write(7), write(6)])).toEqual([
        expect.stringContaining('would not be the highest'),
        expect.stringContaining('would not be the highest'),
      ]);
      expect(await run((tx) => tx.materials.newest('default/key'))).toBeUndefined();
      await write(8);
      expect(await run((tx) => tx.materials.lastVersion('default/key'))).toBe(8);
    });

    test('sessions until they end, once, and their identities', async () => {
      const identity = {
        serial: 's',
        fingerprint: 'f',
        kind: 'session',
        sessionId: 'session-1',
        expiresAtMs: 9,
      } as const;
      const operator = { serial: 'o', fingerprint: 'g', kind: 'operator', expiresAtMs: 9_007_199_254_740_991 } as const;
      await run(async (tx) => {
        await tx.sessions.put(session());
        await tx.sessions.put(session({ id: 'session-2' }));
        await tx.identities.put(identity);
        await tx.identities.put(operator);
      });
      await reopen();
      expect((await repository.load()).sessions).toHaveLength(2);
      expect((await repository.load()).identities).toEqual(expect.arrayContaining([identity, operator]));
      const end = () => run((tx) => tx.sessions.end(session(), 5, 'why'));
      expect([await end(), await end()]).toEqual([true, false]);
      expect(await run((tx) => tx.sessions.end(session({ id: 'nobody' }), 5, 'why'))).toBe(false);
      expect((await repository.load()).sessions).toEqual([session({ id: 'session-2' })]);
    });

    test('a session changes as long as it runs, is told and kept as it is then, and not once it has ended', async () => {
      await run((tx) => tx.sessions.put(session()));
      await repository.load();
      const told: Change[] = [];
      repository.onCommit((changes) => told.push(...changes));
      const changed = session({ tags: ['code'] });
      expect(await run((tx) => tx.sessions.change(changed))).toBe(true);
      expect(told).toEqual([{ kind: 'session', session: changed }]);
      await reopen();
      expect((await repository.load()).sessions).toEqual([changed]);
      await run((tx) => tx.sessions.end(changed, 5, 'why'));
      expect(await run((tx) => tx.sessions.change(session()))).toBe(false);
      expect(await run((tx) => tx.sessions.change(session({ id: 'nobody' })))).toBe(false);
      expect((await repository.load()).sessions).toEqual([]);
    });

    test('revocations until they are lifted', async () => {
      const row: RevocationRow = {
        id: 'r1',
        selector: { namespace: 'default' },
        atMs: 5,
        by: 'owner',
        reason: 'leaked',
      };
      await run(async (tx) => {
        await tx.revocations.put(row);
        await tx.revocations.put({ ...row, id: 'r2' });
        await tx.revocations.delete('r2');
      });
      await reopen();
      expect((await repository.load()).revocations).toEqual([row]);
    });

    test('leases: found, listed while they run, ended once', async () => {
      await run(async (tx) => {
        await tx.sessions.put(session());
        await tx.leases.put(lease());
        await tx.leases.put(lease({ id: 'lease-0', issuedAtMs: 500 }));
        await tx.leases.put(lease({ id: 'over', expiresAtMs: 1_500 }));
        await tx.leases.put(lease({ id: 'ended', endedAtMs: 1_200 }));
        await tx.leases.put(lease({ id: 'to end' }));
        await tx.leases.end('to end', 1_300);
        await tx.leases.end('to end', 1_400);
        await tx.leases.end('none', 1_400);
      });
      await reopen();
      await run(async (tx) => {
        expect(await tx.leases.get('lease-1')).toEqual(lease());
        expect(await tx.leases.get('to end')).toEqual(lease({ id: 'to end', endedAtMs: 1_300 }));
        expect(await tx.leases.get('none')).toBeUndefined();
        expect((await tx.leases.running('session-1', 1_500)).map(({ id }) => id)).toEqual(['lease-0', 'lease-1']);
        expect(await tx.leases.running('session-1', 2_000)).toEqual([]);
      });
    });

    test('the number of leases ever issued of a version, while it is the newest', async () => {
      await run(async (tx) => {
        await tx.sessions.put(session());
        await tx.dataKeys.put('default/key', key('k'));
        await tx.materials.put(material(1));
        for (const id of ['a', 'b']) await tx.leases.put(lease({ id }));
        await tx.leases.put(lease({ id: 'other', credential: 'default/other' }));
        await tx.leases.end('a', 1);
      });
      const count = (version: number) => run((tx) => tx.leases.count('default/key', version));
      const prune = () => run((tx) => tx.prune(1_000_000));
      expect([await count(1), await count(2)]).toEqual([2, 0]);
      await prune();
      expect(await run((tx) => tx.leases.get('a'))).toBeUndefined();
      expect(await count(1)).toBe(2);
      await run((tx) => tx.leases.put(lease({ id: 'c' })));
      expect(await count(1)).toBe(3);
      await prune();
      expect(await count(1)).toBe(3);
      await run((tx) => tx.materials.put(material(2)));
      await prune();
      expect(await count(1)).toBe(0);
    });

    test('join tokens for one use, in time', async () => {
      const token = { invitation: { kind: 'operator' as const }, expiresAtMs: 100 };
      await run(async (tx) => {
        await tx.joinTokens.put('d1', token);
        await tx.joinTokens.put('d2', token);
      });
      await reopen();
      const take = (digest: string, nowMs: number) => run((tx) => tx.joinTokens.take(digest, nowMs));
      expect(await run((tx) => tx.joinTokens.count(99))).toBe(2);
      expect(await run((tx) => tx.joinTokens.count(100))).toBe(0);
      expect([await take('d1', 99), await take('d1', 99), await take('d2', 100), await take('none', 0)]).toEqual([
        token,
        undefined,
        undefined,
        undefined,
      ]);
    });

    test('what is not over, when what is over is pruned', async () => {
      await run(async (tx) => {
        for (const id of ['over', 'alive']) {
          await tx.sessions.put(session({ id }));
          const expiresAtMs = id === 'over' ? 50 : 500;
          await tx.identities.put({ serial: id, fingerprint: id, kind: 'session', sessionId: id, expiresAtMs });
          await tx.leases.put(lease({ id, sessionId: id, expiresAtMs }));
          await tx.joinTokens.put(id, { invitation: { kind: 'operator' }, expiresAtMs });
        }
        await tx.sessions.end(session({ id: 'over' }), 60, 'test');
        await tx.prune(100);
      });
      await reopen();
      const { identities, sessions } = await repository.load();
      expect([identities.map(({ serial }) => serial), sessions.map(({ id }) => id)]).toEqual([['alive'], ['alive']]);
      await run(async (tx) => {
        expect([await tx.leases.get('over'), (await tx.leases.get('alive'))?.id]).toEqual([undefined, 'alive']);
        expect(await tx.joinTokens.count(0)).toBe(1);
      });
    });

    test('chains of the audit apart, with their heads, found by time, pruned from the front', async () => {
      const mine = repository.chain;
      await run(async (tx) => {
        for (const seq of [1, 2, 3]) await tx.audit.append(mine, entryOf(seq), headOf(seq));
        await tx.audit.append('another', entryOf(1, 'z'), headOf(1));
        expect(await tx.audit.end(mine)).toEqual({ seq: 3, hash: 'hash 3' });
      });
      await reopen();
      await run(async (tx) => {
        expect(await tx.audit.chains()).toEqual(['another', mine].sort());
        expect(await tx.audit.entries(mine, 1, 1)).toEqual([{ chain: mine, ...entryOf(2) }]);
        expect(await tx.audit.entries(mine, 3, 9)).toEqual([]);
        expect([await tx.audit.end(mine), await tx.audit.end('none')]).toEqual([{ seq: 3, hash: 'hash 3' }, undefined]);
        expect([await tx.audit.head(mine), await tx.audit.head('another'), await tx.audit.head('none')]).toEqual([
          headOf(3),
          headOf(1),
          undefined,
        ]);
        const at = (text: string) => tx.audit.seqAt(mine, text);
        expect([
          await at('2026'),
          await at(entryOf(2).at),
          await at('2026-01-01T00:00:02.001Z'),
          await at('2027'),
        ]).toEqual([1, 2, 3, 4]);
        expect(await tx.audit.seqAt('none', '2026')).toBe(1);
        await tx.audit.prune(mine, 2);
        expect((await tx.audit.entries(mine, 0, 9)).map(({ seq }) => seq)).toEqual([3]);
        await tx.audit.prune(mine, 9);
        expect(await tx.audit.end(mine)).toEqual({ seq: 3, hash: 'hash 3' });
      });
    });
  });

  describe('a transaction', () => {
    const put = (name: string) => run((tx) => tx.meta.set(name, Buffer.from(name)));
    const has = (name: string) => run(async (tx) => (await tx.meta.get(name)) !== undefined);

    test('is all or nothing, whoever waits beside it', async () => {
      const work = (name: string, fails = false) =>
        run(async (tx) => {
          await tx.meta.set(name, Buffer.from(name));
          if (fails) throw new Error(`${name} changed its mind`);
        });
      expect(await settled([work('a'), work('b', true), put('x'), work('c', true), put('y')])).toEqual([
        'done',
        'Error: b changed its mind',
        'done',
        'Error: c changed its mind',
        'done',
      ]);
      expect(await Promise.all(['a', 'b', 'x', 'c', 'y'].map(has))).toEqual([true, false, true, false, true]);
    });

    test('that breaks a constraint fails alone, with StorageFailed, and leaves no trace', async () => {
      const orphan = run(async (tx) => {
        await tx.meta.set('orphan', Buffer.from('x'));
        await tx.leases.put(lease({ sessionId: 'nobody' }));
      });
      expect(await settled([put('a'), orphan, put('c')])).toEqual([
        'done',
        expect.stringContaining('database could not be written'),
        'done',
      ]);
      expect([await has('a'), await has('orphan'), await has('c')]).toEqual([true, false, true]);
    });

    test('sees what those before it wrote and what it wrote itself', async () => {
      const counts = await Promise.all(
        Array.from({ length: 200 }, () =>
          run(async (tx) => {
            const count = Number((await tx.meta.get('count'))?.toString() ?? 0) + 1;
            await tx.meta.set('count', Buffer.from(String(count)));
            return (await tx.meta.get('count'))?.toString();
          }),
        ),
      );
      expect(counts).toEqual(Array.from({ length: 200 }, (_, i) => String(i + 1)));
    });

    test('that was acknowledged is there after it was opened anew', async () => {
      await put('kept');
      await reopen();
      expect(await has('kept')).toBe(true);
    });

    test('tells its changes once it is durable, in order, before it resolves, and only if it was committed', async () => {
      const told: Change[] = [];
      const order: string[] = [];
      await repository.load();
      repository.onCommit((changes) => {
        told.push(...changes);
        order.push('told');
      });
      const row: RevocationRow = { id: 'r', selector: { everything: true }, atMs: 1, by: 'o', reason: '' };
      await settled([
        run(async (tx) => {
          await tx.credentials.put('default/lost', credentialRecord());
          throw new Error('no');
        }),
        run(async (tx) => {
          await tx.credentials.put('default/kept', credentialRecord());
          await tx.revocations.put(row);
        }).then(() => order.push('resolved')),
        run((tx) => tx.revocations.delete('r')),
      ]);
      expect(told).toEqual([
        { kind: 'credential', key: 'default/kept', record: credentialRecord() },
        { kind: 'revocation', id: 'r', revocation: row },
        { kind: 'revocation', id: 'r', revocation: undefined },
      ]);
      expect(order).toEqual(['told', 'resolved']);
      await repository.caughtUp();
      expect(told).toHaveLength(3);
    });

    test('tells every kind of change', async () => {
      const told: Change[] = [];
      repository.onCommit((changes) => told.push(...changes));
      const identity = {
        serial: 's',
        fingerprint: 'f',
        kind: 'session',
        sessionId: 'session-1',
        expiresAtMs: 9,
      } as const;
      await run(async (tx) => {
        await tx.meta.set('m', Buffer.from('v'));
        await tx.meta.delete('m');
        await tx.credentials.delete('d/c');
        await tx.integrations.put('d/i', integrationRecord());
        await tx.integrations.delete('d/i');
        await tx.sessions.put(session());
        await tx.identities.put(identity);
        await tx.dataKeys.put('default/key', key('k'));
        await tx.materials.put(material(1));
        await tx.materials.delete('default/key');
        await tx.sessions.end(session(), 1, 'why');
        await tx.leases.tell({ credential: 'default/key', version: 1, count: 2 });
        await tx.audit.append(repository.chain, entryOf(1), headOf(1));
      });
      const { sealed: _, ...head } = material(1);
      expect(told).toEqual([
        { kind: 'meta', name: 'm' },
        { kind: 'meta', name: 'm' },
        { kind: 'credential', key: 'd/c', record: undefined },
        { kind: 'integration', key: 'd/i', record: integrationRecord() },
        { kind: 'integration', key: 'd/i', record: undefined },
        { kind: 'session', session: session() },
        { kind: 'identity', identity },
        { kind: 'material', key: 'default/key', head },
        { kind: 'material', key: 'default/key', head: undefined },
        { kind: 'session', session: session(), endReason: 'why' },
        { kind: 'uses', uses: { credential: 'default/key', version: 1, count: 2 } },
        { kind: 'audit', head: headOf(1) },
      ]);
    });
  });

  test('work is held by the one process that there is', async () => {
    expect([await repository.holdWork('rotation', 5), await repository.holdWork('rotation', 5)]).toEqual([true, true]);
  });

  test('a snapshot stays as it was while others write, and holds nobody up', async () => {
    await run((tx) => tx.credentials.put('default/a', credentialRecord()));
    const seen = await repository.snapshot(async (tx) => {
      await run((other) => other.credentials.put('default/b', credentialRecord()));
      await run((other) => other.meta.set('later', Buffer.from('x')));
      return [await tx.credentials.page('', 10), await tx.meta.get('later')];
    });
    expect(seen).toEqual([[{ key: 'default/a', record: credentialRecord() }], undefined]);
    expect(await run((tx) => tx.credentials.page('default/a', 10))).toHaveLength(1);
  });

  test('a snapshot while transactions are written all the time has whole ones', async () => {
    let over = false;
    let written = 0;
    const writing = (async () => {
      while (!over) {
        await run(async (tx) => {
          await tx.meta.set('left', Buffer.alloc(5000, `${written}`));
          await tx.meta.set('right', Buffer.alloc(5000, `${written}`));
        });
        written += 1;
      }
    })();
    for (let round = 0; round < 5; round += 1) {
      const [left, right] = await repository.snapshot(async (tx) => [
        await tx.meta.get('left'),
        await tx.meta.get('right'),
      ]);
      expect(left).toEqual(right);
    }
    over = true;
    await writing;
  });

  test('objects and revocations come in pages and in order', async () => {
    const keys = ['a/B', 'a/a', 'a/a-b', 'a/ab', 'b/a'];
    await run(async (tx) => {
      for (const key of keys) await tx.integrations.put(key, integrationRecord());
      await tx.revocations.put({ id: '2', selector: { everything: true }, atMs: 1, by: 'x', reason: 'y' });
      await tx.revocations.put({ id: '1', selector: { everything: true }, atMs: 1, by: 'x', reason: 'y' });
    });
    const page = (after: string) => run((tx) => tx.integrations.page(after, 2));
    const found: string[] = [];
    for (let objects = await page(''); objects.length > 0; objects = await page(found.at(-1)!))
      found.push(...objects.map(({ key }) => key));
    expect(found).toEqual(keys);
    expect((await run((tx) => tx.revocations.all())).map(({ id }) => id)).toEqual(['1', '2']);
  });

  test('leases of before are counted with those of now', async () => {
    await run((tx) => tx.leases.addCount('default/key', 3, 2));
    await run((tx) => tx.leases.addCount('default/key', 3, 1));
    expect(await run((tx) => tx.leases.count('default/key', 3))).toBe(3);
  });
});
