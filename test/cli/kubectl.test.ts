import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { run } from '../cluster/kubectl.ts';

const PLUGIN = new URL('../../bin/kubectl-sidekey', import.meta.url).pathname;

test.for([
  ['no kubeconfig at all', [], /neither KUBECONFIG nor ~\/\.kube\/config names a cluster/],
  ['a file that is not there', ['--kubeconfig', '/not/there'], /no such file .*'\/not\/there'/],
] as const)('with %s the command says so, and how a cluster is named', async ([, flags, what]) => {
  const home = mkdtempSync(join(tmpdir(), 'sidekey-home-'));
  onTestFinished(() => rmSync(home, { recursive: true }));
  const { code, stderr } = await run('/usr/bin/env', [
    '-i',
    `HOME=${home}`,
    `PATH=${process.env.PATH}`,
    PLUGIN,
    'status',
    ...flags,
  ]);
  expect(code).toBe(3);
  expect(stderr).toMatch(what);
  expect(stderr).toContain('--kubeconfig FILE');
});

test('a mistake in the arguments is told with the command as it was called', async () => {
  const { code, stderr } = await run(PLUGIN, ['docter']);
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: expect.stringMatching(/Did you mean doctor[\s\S]*see kubectl sidekey --help/),
  });
});
