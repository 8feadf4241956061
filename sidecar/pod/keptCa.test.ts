import { X509Certificate } from 'node:crypto';
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { type Clock, systemClock } from '../../lib/clock.ts';
import { InterceptCa } from '../listen/interceptCa.ts';
import { createTestCa } from '../upstream/testkit.ts';
import { KeptCa } from './keptCa.ts';
import { KeptTrust } from './keptTrust.ts';
import { PrivateFiles } from './privateFiles.ts';

const DAY_MS = 86_400_000;
let dir: string;
let warnings: string[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-private-'));
  warnings = [];
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
});

const log = {
  debug() {},
  info() {},
  error() {},
  warn: (fields: object, message: string) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
};
const files = () => new PrivateFiles(dir);
const start = (clock: Clock = systemClock) => new InterceptCa({ clock, keeper: new KeptCa(files(), log) });
const FILE = 'intercept-ca.pem';

describe('the interception CA', () => {
  test('outlives the process: a sidecar that starts again is trusted by who trusts the one before', () => {
    const first = start();
    const again = start();
    expect(again.caPem).toBe(first.caPem);
    expect(again.context('api.test')).toBeDefined();
    expect(warnings).toEqual([]);
    expect(readdirSync(dir)).toEqual([FILE]);
    expect(statSync(join(dir, FILE)).mode & 0o777).toBe(0o600);
    expect(new X509Certificate(readFileSync(join(dir, FILE))).ca).toBe(true);
  });

  test.each<[string, (file: string) => void]>([
    ['is cut short', (file) => writeFileSync(file, readFileSync(file).subarray(0, 600))],
    ['is empty', (file) => writeFileSync(file, '')],
    ['is garbage', (file) => writeFileSync(file, Buffer.alloc(900, 7))],
    ['is beyond all bounds', (file) => writeFileSync(file, Buffer.alloc(2 * 1024 * 1024, 7))],
    ['may be read by others', (file) => chmodSync(file, 0o644)],
    [
      'is a link',
      (file) => {
        writeFileSync(`${file}.else`, readFileSync(file), { mode: 0o600 });
        rmSync(file);
        symlinkSync(`${file}.else`, file);
      },
    ],
    [
      'has the key of another',
      (file) => {
        const { key } = createTestCa('another').issue();
        const own = readFileSync(file, 'latin1');
        writeFileSync(file, own.slice(0, own.indexOf('-----BEGIN PRIVATE')) + key);
      },
    ],
    [
      'is a leaf',
      (file) => {
        const { cert, key } = createTestCa('another').issue();
        writeFileSync(file, cert + key);
      },
    ],
  ])('that %s is replaced, with a warning that holds nothing of it', (_, damage) => {
    const before = start().caPem;
    damage(join(dir, FILE));
    const ca = start();
    expect(ca.caPem).not.toBe(before);
    expect(warnings).toEqual([expect.stringContaining('agents that run have to be restarted')]);
    expect(warnings[0]).not.toContain('BEGIN');
    warnings = [];
    expect(start().caPem).toBe(ca.caPem);
    expect(warnings).toEqual([]);
  });

  test('is kept also where the kubelet has let an fsGroup in', () => {
    const { caPem } = start();
    chmodSync(join(dir, FILE), 0o660);
    expect(start().caPem).toBe(caPem);
  });

  test.skipIf(process.getuid?.() !== 0)('that belongs to another user is replaced', async () => {
    const before = start().caPem;
    const { chownSync } = await import('node:fs');
    chownSync(join(dir, FILE), 65_534, 65_534);
    expect(start().caPem).not.toBe(before);
    expect(warnings[0]).toContain('belongs to user 65534');
  });

  test('that is over, or not yet, is replaced', () => {
    const before = start().caPem;
    for (const days of [364.5, -3]) {
      const clock = { ...systemClock, nowMs: () => systemClock.nowMs() + days * DAY_MS };
      expect(start(clock).caPem).not.toBe(before);
    }
  });

  test('that was being written when the sidecar was killed is written anew', () => {
    writeFileSync(join(dir, `${FILE}.new`), 'half', { mode: 0o600 });
    const { caPem } = start();
    expect(start().caPem).toBe(caPem);
  });

  test('is no less kept where there is no directory: that is an error', () => {
    rmSync(dir, { recursive: true });
    expect(() => start().caPem).toThrow('ENOENT');
  });
});

describe('the trust bundle of the store', () => {
  const injected = createTestCa('injected').pem;
  const newest = createTestCa('newest').pem;

  test('that the store has told last is trusted besides the injected one, also after a restart', () => {
    const trust = new KeptTrust(files(), injected, log);
    expect(trust.pem.trim()).toBe(injected.trim());
    trust.keep(newest);
    for (const one of [trust, new KeptTrust(files(), injected, log)]) {
      expect(one.pem).toContain(injected.trim());
      expect(one.pem).toContain(newest.trim());
    }
    expect(statSync(join(dir, 'trust-bundle.pem')).mode & 0o777).toBe(0o600);
  });

  test('that is damaged is left out, with a warning', () => {
    writeFileSync(join(dir, 'trust-bundle.pem'), 'damaged', { mode: 0o600 });
    expect(new KeptTrust(files(), injected, log).pem.trim()).toBe(injected.trim());
    expect(warnings.length).toBe(1);
  });

  test('that cannot be written is used nevertheless', () => {
    const trust = new KeptTrust(files(), injected, log);
    rmSync(dir, { recursive: true });
    trust.keep(newest);
    expect(trust.pem).toContain(newest.trim());
    expect(warnings.length).toBe(1);
  });
});
