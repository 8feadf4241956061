import { expect, test } from 'vitest';
import { SIDECAR_UID } from '../../api/pods.ts';
import { podBootstrap } from './podBootstrap.ts';

const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
const VALID = {
  SIDEKEY_STORE_URL: 'https://sidekey-store.sidekey-system:8443',
  SIDEKEY_TRUST_BUNDLE: PEM,
  SIDEKEY_EGRESS: 'Closed',
  SIDEKEY_CAPTURE_PORTS: '80,443,8080',
  SIDEKEY_EXTRA_CA: PEM,
};

test('the environment that the webhook writes is taken', () => {
  expect(podBootstrap(VALID, SIDECAR_UID)).toEqual({
    storeUrl: VALID.SIDEKEY_STORE_URL,
    trustBundlePem: PEM,
    egress: 'Closed',
    capturePorts: [80, 443, 8080],
    extraCa: { from: 'SIDEKEY_EXTRA_CA', pem: PEM },
  });
});

test('without capture, egress and extra CAs it is whole as well', () => {
  const { SIDEKEY_STORE_URL, SIDEKEY_TRUST_BUNDLE } = VALID;
  expect(podBootstrap({ SIDEKEY_STORE_URL, SIDEKEY_TRUST_BUNDLE }, 1_000)).toMatchObject({
    egress: 'Open',
    capturePorts: [],
    extraCa: undefined,
  });
});

test.each([
  ['SIDEKEY_STORE_URL', undefined],
  ['SIDEKEY_STORE_URL', 'http://store'],
  ['SIDEKEY_TRUST_BUNDLE', undefined],
  ['SIDEKEY_TRUST_BUNDLE', 'secret-looking'],
  ['SIDEKEY_EGRESS', 'open'],
  ['SIDEKEY_CAPTURE_PORTS', '80;443'],
  ['SIDEKEY_CAPTURE_PORTS', '0'],
  ['SIDEKEY_CAPTURE_PORTS', '65536'],
  ['SIDEKEY_CAPTURE_PORTS', '080'],
  ['SIDEKEY_CAPTURE_PORTS', '80,80'],
  ['SIDEKEY_CAPTURE_PORTS', '80,'],
  ['SIDEKEY_CAPTURE_PORTS', '15080'],
  ['SIDEKEY_CAPTURE_PORTS', '15021'],
  ['SIDEKEY_CAPTURE_PORTS', '15101'],
  ['SIDEKEY_CAPTURE_PORTS', Array.from({ length: 65 }, (_, i) => i + 1).join()],
])('%s = %j is refused by name, and not repeated', (name, value) => {
  const refused = () => podBootstrap({ ...VALID, [name]: value }, SIDECAR_UID);
  expect(refused).toThrow(expect.objectContaining({ code: 'BootstrapInvalid' }));
  expect(refused).toThrow(`${name}: expected`);
  expect(refused).toThrow('Create the pod anew');
  expect(refused).not.toThrow('secret-looking');
});

test('as another user than the redirect exempts, it would capture itself: refused where anything is captured', () => {
  expect(() => podBootstrap(VALID, 1_000)).toThrow('securityContext.runAsUser must be 64000');
});
