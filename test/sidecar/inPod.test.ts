import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { SIDECAR_ENV, SIDECAR_PATHS } from '../../api/pods.ts';
import { createTestCa } from '../../sidecar/upstream/testkit.ts';

const MAIN = new URL('../../sidecar/main.ts', import.meta.url).pathname;

/** Starts the sidecar as in a pod; the last line of its log once it has ended. */
function start(env: Record<string, string>): { code: number | null; line: { code: string; error: string } } {
  const { status, stderr } = spawnSync(process.execPath, [MAIN, '--in-pod'], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, ...env },
    timeout: 10_000,
  });
  return { code: status, line: JSON.parse(stderr.trim().split('\n').at(-1)!) };
}

const PEM = createTestCa('store').pem;
const VALID = { [SIDECAR_ENV.storeUrl]: 'https://127.0.0.1:1', [SIDECAR_ENV.trustBundle]: PEM };

test('without the environment that the webhook writes it ends, naming every variable', () => {
  const { code, line } = start({ [SIDECAR_ENV.egress]: 'Ajar' });
  expect([code, line.code]).toEqual([1, 'BootstrapInvalid']);
  for (const name of [SIDECAR_ENV.storeUrl, SIDECAR_ENV.trustBundle, SIDECAR_ENV.egress])
    expect(line.error).toContain(`${name}: expected`);
  expect(line.error).not.toContain('Ajar');
});

test('extra CAs that are none, and a proxy that is none, end it with their names', () => {
  expect(start({ ...VALID, [SIDECAR_ENV.extraCa]: 'no PEM' })).toMatchObject({
    code: 1,
    line: { code: 'ExtraCaInvalid', error: expect.stringContaining(SIDECAR_ENV.extraCa) },
  });
  expect(start({ ...VALID, HTTPS_PROXY: 'ftp://x' })).toMatchObject({ code: 1, line: { code: 'ProxyInvalid' } });
});

test.skipIf(existsSync(SIDECAR_PATHS.privateDir))('without its volume it ends, and says what belongs there', () => {
  const { code, line } = start(VALID);
  expect([code, line.code]).toEqual([1, 'PrivateDirUnwritable']);
  expect(line.error).toContain('a volume in memory');
  expect(line.error).toContain(SIDECAR_PATHS.privateDir);
});
