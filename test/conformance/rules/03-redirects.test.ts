import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { LOOPBACK } from '../../sidecar/sidecarProcess.ts';
import { BEARER, Lab, refusalOf, SECRET } from './lab.ts';
import type { RawUpstream } from './rawUpstream.ts';

let lab: Lab;
let elsewhere: RawUpstream;

beforeAll(async () => {
  lab = await Lab.start(async (made) => {
    elsewhere = await made.upstream(['elsewhere.localhost']);
    return {
      integrations: {
        'default/example': {
          hosts: [made.api.host()],
          alias: 'example',
          allowedNetworks: LOOPBACK,
          rules: [{ action: 'Allow', paths: [{ type: 'PathPrefix', value: '/public' }] }],
        },
      },
    };
  });
});
afterAll(() => lab?.close());
beforeEach(() => {
  lab.api.forget();
  elsewhere.forget();
});

const redirectTo = (location: string, status = 302) => {
  lab.api.answer = (_, socket) => {
    socket.write(`HTTP/1.1 ${status} Found\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`);
  };
};

test('a redirect to another host is handed to the agent, and nobody goes there', async () => {
  for (const status of [301, 302, 303, 307, 308]) {
    redirectTo(`https://${elsewhere.host()}/collect`, status);
    const answer = await lab.get('/public');
    expect([answer.status, answer.fields.get('location')]).toEqual([status, `https://${elsewhere.host()}/collect`]);
  }
  expect(lab.api.requests).toHaveLength(5);
  expect(elsewhere.connections).toBe(0);
});

test('an agent that follows a redirect to a host of no Integration comes there without the credential', async () => {
  redirectTo(`https://${elsewhere.host()}/collect`);
  const { fields } = await lab.get('/public');
  const location = fields.get('location')!;
  await lab.ask(`GET ${location} HTTP/1.1\r\nHost: ${elsewhere.host()}\r\n\r\n`);
  expect(elsewhere.requests).toHaveLength(1);
  expect(elsewhere.bytes).not.toContain('uthorization');
  expect(elsewhere.bytes).not.toContain(SECRET);
});

test('a redirect within the host is decided afresh, by its rules', async () => {
  redirectTo('/admin/keys');
  await lab.get('/public');
  expect(lab.api.sent('authorization')).toEqual([BEARER]);
  expect(refusalOf(await lab.get('/admin/keys'))).toBe('403 RuleDenied');
  expect(lab.api.requests).toHaveLength(1);
});
