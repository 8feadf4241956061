import { expect, test } from 'vitest';
import { testSettings } from '../inject/testkit.ts';
import type { AdmissionRequest } from './admissionReview.ts';
import { answerReview } from './answerReview.ts';

const settings = { inject: () => testSettings(), trustedControllers: [] };
const request = (changes: Partial<AdmissionRequest>): AdmissionRequest => ({
  uid: 'u',
  kind: { group: '', version: 'v1', kind: 'Pod' },
  namespace: 'team-a',
  operation: 'CREATE',
  userInfo: { username: 'jane' },
  object: {
    metadata: { name: 'x', labels: { 'sidekey.dev/inject': 'true', 'tag.sidekey.dev/llm': '' } },
    spec: { containers: [{ name: 'agent', image: 'a' }] },
  },
  ...changes,
});
const operationsOf = (patch: string | undefined) => JSON.parse(Buffer.from(patch ?? 'W10=', 'base64').toString());

test('a pod is patched with what is different, not with itself', () => {
  const { outcome, response } = answerReview(request({}), settings);
  expect(outcome).toBe('injected');
  expect(response).toMatchObject({ uid: 'u', allowed: true, patchType: 'JSONPatch' });
  const paths = operationsOf(response.patch).map(({ op, path }: { op: string; path: string }) => `${op} ${path}`);
  expect(paths.sort()).toEqual([
    'add /metadata/annotations',
    'add /spec/containers/0/env',
    'add /spec/containers/0/volumeMounts',
    'add /spec/initContainers',
    'add /spec/volumes',
  ]);
});

test('what comes by again unchanged gets no patch at all', () => {
  const first = answerReview(request({}), settings);
  const [annotations, env, mounts, init, volumes] = [
    'add /metadata/annotations',
    'add /spec/containers/0/env',
    'add /spec/containers/0/volumeMounts',
    'add /spec/initContainers',
    'add /spec/volumes',
  ].map(
    (wanted) =>
      operationsOf(first.response.patch).find(
        ({ op, path }: { op: string; path: string }) => `${op} ${path}` === wanted,
      ).value,
  );
  const { metadata } = request({}).object as { metadata: object };
  const again = answerReview(
    request({
      object: {
        metadata: { ...metadata, annotations },
        spec: { containers: [{ name: 'agent', image: 'a', env, volumeMounts: mounts }], initContainers: init, volumes },
      },
    }),
    settings,
  );
  expect(again.response).toEqual({ uid: 'u', allowed: true });
});

test('a refusal has the code, where it is and what to do', () => {
  const object = request({}).object as { metadata: object; spec: object };
  const { outcome, response } = answerReview(
    request({ object: { ...object, spec: { ...object.spec, hostNetwork: true } } }),
    settings,
  );
  expect(outcome).toBe('refused');
  expect(response).toMatchObject({
    allowed: false,
    status: {
      code: 403,
      reason: 'HostNetworkRefused',
      message: expect.stringMatching(/^sidekey: HostNetworkRefused: .*unset hostNetwork/),
    },
  });
});

test('an object that is being deleted, or is none, is let through', () => {
  for (const changes of [{ operation: 'DELETE' as const, object: null }, { object: undefined }])
    expect(answerReview(request(changes), settings).response).toEqual({ uid: 'u', allowed: true });
});
