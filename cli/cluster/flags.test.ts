import { expect, test } from 'vitest';
import { takeClusterFlags } from './flags.ts';

test('flags of the cluster are taken wherever they stand', () => {
  const { flags, rest } = takeClusterFlags([
    '--context',
    'a',
    'get',
    '--kubeconfig=/k',
    '-n',
    'x',
    '--system-namespace',
    's',
  ]);
  expect(flags).toEqual({ context: 'a', kubeconfig: '/k', systemNamespace: 's' });
  expect(rest).toEqual(['get', '-n', 'x']);
});

test('what comes after -- is not ours, and a flag without its value is left to be refused', () => {
  expect(takeClusterFlags(['x', '--', '--context', 'a']).rest).toEqual(['x', '--', '--context', 'a']);
  expect(takeClusterFlags(['get', '--context']).rest).toEqual(['get', '--context']);
});
