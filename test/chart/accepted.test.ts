import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { KubeError } from '../../lib/kube/client.ts';
import { AGENTS_NAMESPACE, Installation } from './installed.ts';
import { serveOtherKinds } from './otherKinds.ts';
import { notes, objectsIn, type Rendered, render, valuesFiles } from './render.ts';

const START_LIMIT_MS = 20 * 60_000;

let installation: Installation;

beforeAll(async () => {
  installation = await Installation.prepare();
  for (const name of ['research', 'sidekey-demo', 'sidekey-test', 'keys-test'])
    await installation.plane.client().create('/api/v1/namespaces', { metadata: { name } });
  await serveOtherKinds(installation.plane);
}, START_LIMIT_MS);
afterAll(() => installation?.plane.stop());

describe('an API server', () => {
  test.each(valuesFiles())(
    'takes every object of the values $name, knows each field, and warns of none',
    async ({ file }) => {
      const objects = (await render('--values', file)).filter(({ kind }) => kind !== 'Namespace');
      const input = objects.map((object) => stringify(object)).join('---\n');
      const { code, stderr } = await installation.plane.kubectl(
        ['apply', '--dry-run=server', '--validate=strict', '--filename=-'],
        { input },
      );
      expect(stderr).toBe('');
      expect(code).toBe(0);
    },
  );

  test('takes what the notes give to paste', async () => {
    const pasted = objectsIn(/<<'END'\n(.*)\nEND\n/s.exec(await notes())![1]!);
    const { code, stderr } = await installation.plane.kubectl(
      ['apply', '--dry-run=server', '--validate=strict', '--warnings-as-errors', '--filename=-'],
      // That namespace is there already, and who made it did not use apply.
      {
        input: pasted
          .filter(({ kind }) => kind !== 'Namespace')
          .map((object) => stringify(object))
          .join('---\n'),
      },
    );
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  test.each(valuesFiles())(
    'lets every pod of the values $name in where Pod Security enforces restricted',
    async ({ file }) => {
      const pods = (await render('--values', file)).flatMap((object) => podOf(object) ?? []);
      expect(pods.length).toBeGreaterThanOrEqual(5);
      for (const { name, spec } of pods) expect(await refusalOf(spec), name).toBeUndefined();
    },
  );

  test('would refuse a pod that is not restricted there', async () => {
    expect(await refusalOf({ containers: [{ name: 'a', image: 'a' }] })).toContain('violates PodSecurity "restricted');
  });
});

function podOf({ kind, metadata, spec }: Rendered): { name: string; spec: Record<string, unknown> } | undefined {
  if (!/^(Deployment|StatefulSet|Job)$/.test(kind)) return undefined;
  // The ServiceAccounts are those of another namespace; and there are no controllers, which would make claims.
  const { serviceAccountName: _, ...rest } = spec.template.spec;
  const claims = ((spec.volumeClaimTemplates ?? []) as Rendered[]).map((claim) => ({
    name: claim.metadata.name,
    persistentVolumeClaim: { claimName: claim.metadata.name },
  }));
  return { name: metadata.name, spec: { ...rest, volumes: [...(rest.volumes ?? []), ...claims] } };
}

/** Why a pod is not let in, if it is not. */
async function refusalOf(spec: object): Promise<string | undefined> {
  const body = { metadata: { generateName: 'pod-' }, spec };
  try {
    await installation.plane.client().create(`/api/v1/namespaces/${AGENTS_NAMESPACE}/pods`, body, { dryRun: 'All' });
    return undefined;
  } catch (error) {
    if (error instanceof KubeError) return error.serverMessage ?? error.message;
    throw error;
  }
}
