import { expect, test } from 'vitest';
import type { SidecarBootstrap } from '../api/bootstrap.ts';
import { sidecarBootstrap } from './config.ts';

const VALID: SidecarBootstrap = {
  part: 'sidecar',
  storeUrl: 'https://127.0.0.1:8443',
  trustBundlePem: 'PEM',
  joinToken: 'token-of-the-start',
  proxyPort: 0,
  healthPort: 15_081,
  egress: 'Open',
  bundleFile: '/tmp/bundle.pem',
};

test('a valid bootstrap is taken as it is, with and without the extra CA', () => {
  expect(sidecarBootstrap(VALID)).toEqual(VALID);
  expect(sidecarBootstrap({ ...VALID, extraCaFile: 'ca.pem' }).extraCaFile).toBe('ca.pem');
});

test.each<[keyof SidecarBootstrap, unknown]>([
  ['part', 'store'],
  ['storeUrl', 'http://127.0.0.1'],
  ['storeUrl', 7],
  ['trustBundlePem', ''],
  ['joinToken', undefined],
  ['proxyPort', 65_536],
  ['healthPort', 1.5],
  ['healthPort', '8080'],
  ['egress', 'open'],
  ['bundleFile', null],
  ['extraCaFile', ''],
])('a bootstrap whose %s is %j is refused, by name and without its values', (name, value) => {
  const refused = () => sidecarBootstrap({ ...VALID, [name]: value });
  expect(refused).toThrow(expect.objectContaining({ code: 'BootstrapInvalid' }));
  expect(refused).toThrow(`${name}: expected`);
  expect(refused).not.toThrow('token-of-the-start');
});

test('what is no bootstrap, or more than one, is refused', () => {
  for (const value of [null, undefined, 'text', 7]) expect(() => sidecarBootstrap(value)).toThrow('no object');
  expect(() => sidecarBootstrap({ ...VALID, egres: 'Open' })).toThrow('egres: unknown');
});
