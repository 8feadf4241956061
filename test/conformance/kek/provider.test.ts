import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { stateFiles } from '../../../lib/stateDir.ts';
import { FileKek } from '../../../store/vault/fileKek.ts';
import type { KekProvider, WrappedKey } from '../../../store/vault/kek.ts';
import { ensureKekFile } from '../../../store/vault/kekFile.ts';
import { SecretDirKek } from '../../../store/vault/secretDirKek.ts';
import { TransitKek } from '../../../store/vault/transit/transitKek.ts';
import { TransitDouble } from '../../doubles/transit.ts';

interface Bench {
  provider: KekProvider;
  /** Another one that is made alike, with other keys. */
  other: KekProvider;
  /** Has a second key, whoever makes it. */
  newKey(): Promise<string>;
  close(): Promise<void>;
}

/** Every provider there is, made in a directory. */
const PROVIDERS: Record<string, (dir: string) => Promise<Bench>> = {
  file: async (dir) => {
    const make = (name: string) => {
      const files = stateFiles(join(dir, name));
      ensureKekFile(files);
      return new FileKek(files.kek);
    };
    const provider = make('one');
    return { provider, other: make('two'), newKey: () => provider.makeKey(), close: async () => {} };
  },
  'Kubernetes Secret': async (dir) => {
    const make = (name: string) => {
      const path = mkdtempSync(join(dir, name));
      writeFileSync(join(path, 'kek-1'), randomBytes(32), { mode: 0o440 });
      return new SecretDirKek(path);
    };
    const provider = make('one');
    return {
      provider,
      other: make('two'),
      newKey: async () => {
        writeFileSync(join(provider.where, 'kek-2'), randomBytes(32).toString('base64'), { mode: 0o440 });
        await provider.health();
        return provider.keys.at(-1)!.id;
      },
      close: async () => {},
    };
  },
  transit: (dir) => transit(dir, {}),
  'transit, derived key': (dir) => transit(dir, { derived: true }),
  'transit, convergent key': (dir) => transit(dir, { derived: true, convergent: true }),
};

async function transit(dir: string, key: Parameters<TransitDouble['createKey']>[1]): Promise<Bench> {
  const make = async (name: string) => {
    const server = await new TransitDouble().start();
    server.createKey('sidekey', key);
    const tokenFile = join(dir, `token-${name}`);
    writeFileSync(tokenFile, `${server.token}\n`);
    return { server, provider: new TransitKek({ address: server.address, keyName: 'sidekey', tokenFile }) };
  };
  const [one, two] = [await make('one'), await make('two')];
  return {
    provider: one.provider,
    other: two.provider,
    newKey: () => one.provider.makeKey(),
    close: async () => {
      expect([...one.server.violations, ...two.server.violations]).toEqual([]);
      await Promise.all([one.server.stop(), two.server.stop()]);
    },
  };
}

describe.each(Object.entries(PROVIDERS))('%s', (_name, make) => {
  let dir: string;
  let bench: Bench;
  let provider: KekProvider;
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'sidekey-kek-'));
    bench = await make(dir);
    provider = bench.provider;
    await provider.health();
    await bench.other.health();
  });
  afterEach(async () => {
    provider.close();
    bench.other.close();
    await bench.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const aad = Buffer.from('sidekey\0data key\0default/key');
  const newest = (of: KekProvider) => of.keys.at(-1)!.id;
  const wrap = (plaintext: Buffer) => provider.wrap(newest(provider), plaintext, aad);
  const refused = expect.objectContaining({ code: 'KekRefused' });

  test('gives back what it wrapped, under the key that it names', async () => {
    const plaintext = randomBytes(32);
    const key = await wrap(plaintext);
    expect(key.kekId).toBe(newest(provider));
    expect(provider.knows(key.kekId)).toBe(true);
    expect(await provider.unwrap(key, aad)).toEqual(plaintext);
    for (const form of [plaintext, plaintext.toString('base64'), plaintext.toString('hex')])
      expect(key.wrapped.includes(form)).toBe(false);
  });

  test.each([1, 16, 121, 2_000])('takes %i bytes: keys of the store are of many lengths', async (length) => {
    const plaintext = randomBytes(length);
    expect(await provider.unwrap(await wrap(plaintext), aad)).toEqual(plaintext);
  });

  test('refuses another AAD, also one that is longer, shorter or empty', async () => {
    const key = await wrap(randomBytes(32));
    for (const wrong of ['sidekey\0data key\0default/kez', `${aad} `, aad.subarray(1), ''])
      await expect(provider.unwrap(key, Buffer.from(wrong))).rejects.toEqual(refused);
  });

  test('refuses what was flipped, a bit at a time', async () => {
    const key = await wrap(randomBytes(32));
    for (let at = 0; at < key.wrapped.length; at += provider.remote ? 3 : 1) {
      const wrapped = Buffer.from(key.wrapped);
      wrapped[at]! ^= 1 << (at % 8);
      await expect(provider.unwrap({ ...key, wrapped }, aad)).rejects.toEqual(refused);
    }
  });

  test('refuses what was cut off or added to', async () => {
    const key = await wrap(randomBytes(32));
    for (const length of [0, 1, 12, 28, key.wrapped.length - 4, key.wrapped.length - 1])
      await expect(provider.unwrap({ ...key, wrapped: key.wrapped.subarray(0, length) }, aad)).rejects.toEqual(refused);
    const longer = Buffer.concat([key.wrapped, Buffer.from('AAAA')]);
    await expect(provider.unwrap({ ...key, wrapped: longer }, aad)).rejects.toEqual(refused);
  });

  test('refuses an id that is not the one of the key that wrapped', async () => {
    const key = await wrap(randomBytes(32));
    const id = await bench.newKey();
    await expect(provider.unwrap({ ...key, kekId: id }, aad)).rejects.toEqual(refused);
    for (const kekId of ['', '0123456789abcdef', 'transit:transit/sidekey:v', `${key.kekId}0`])
      await expect(provider.unwrap({ ...key, kekId }, aad)).rejects.toEqual(
        expect.objectContaining({ code: expect.stringMatching(/^Kek(Refused|Missing)$/) }),
      );
  });

  test('another one with other keys opens nothing of it', async () => {
    const key = await wrap(randomBytes(32));
    const there = { ...key, kekId: newest(bench.other) };
    await expect(bench.other.unwrap(there, aad)).rejects.toEqual(refused);
  });

  test('never wraps alike, unless the key is a convergent one', async () => {
    const plaintext = randomBytes(32);
    const [one, two] = [await wrap(plaintext), await wrap(plaintext)];
    expect(one.wrapped.equals(two.wrapped)).toBe(_name.includes('convergent'));
  });

  test('after a new key both unwrap, and each wraps when it is named', async () => {
    const [first, plaintext] = [newest(provider), randomBytes(32)];
    const before = await wrap(plaintext);
    const second = await bench.newKey();
    expect(provider.keys.map(({ id }) => id)).toEqual([first, second]);
    const after = await provider.wrap(second, plaintext, aad);
    const again = await provider.wrap(first, plaintext, aad);
    expect([before, after, again].map(({ kekId }) => kekId)).toEqual([first, second, first]);
    for (const key of [before, after, again]) expect(await provider.unwrap(key, aad)).toEqual(plaintext);
  });

  test('a hundred at once do not mix', async () => {
    const plaintexts = Array.from({ length: 100 }, () => randomBytes(32));
    const aadOf = (index: number) => Buffer.from(`sidekey\0data key\0default/key-${index}`);
    const keys = await Promise.all(
      plaintexts.map((plaintext, index) => provider.wrap(newest(provider), plaintext, aadOf(index))),
    );
    const opened = await Promise.all(keys.map((key: WrappedKey, index) => provider.unwrap(key, aadOf(index))));
    expect(opened).toEqual(plaintexts);
  });

  test('leaves the plaintext it is given as it is, and gives one in memory of its own that can be overwritten', async () => {
    const plaintext = randomBytes(32);
    const copy = Buffer.from(plaintext);
    const key = await wrap(plaintext);
    expect(plaintext).toEqual(copy);
    const opened = await provider.unwrap(key, aad);
    expect(opened.buffer.byteLength).toBe(provider.remote ? 32 : opened.buffer.byteLength);
    opened.fill(0);
    expect(await provider.unwrap(key, aad)).toEqual(copy);
  });

  test('knows no key of others, and says of each when it was made', () => {
    expect(provider.knows('0000000000000000')).toBe(false);
    for (const { createdAtMs } of provider.keys) expect(Math.abs(Date.now() - createdAtMs!)).toBeLessThan(60_000);
  });
});
