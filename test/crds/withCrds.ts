import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parse } from 'yaml';
import type { KubeClient } from '../../lib/kube/client.ts';
import { ControlPlane } from '../cluster/controlPlane.ts';

/** The first run on a machine builds the control plane. */
export const START_LIMIT_MS = 20 * 60_000;

const CRDS = join(import.meta.dirname, '..', '..', 'crds');
const PATH = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const ESTABLISHED_MS = 20_000;

export interface Definition {
  metadata: { name: string };
  spec: {
    names: { plural: string; kind: string };
    versions: { schema: { openAPIV3Schema: Record<string, unknown> } }[];
  };
  status?: { conditions?: { type: string; status: string }[] };
}

/** The CRDs as they are in crds/. */
export function readDefinitions(): Definition[] {
  return ['credentials', 'integrations'].map((plural) =>
    parse(readFileSync(join(CRDS, `${plural}.sidekey.dev.yaml`), 'utf8')),
  );
}

/** Applies CRDs and waits until their objects are served. */
export async function install(client: KubeClient, definitions = readDefinitions()): Promise<void> {
  for (const definition of definitions) {
    const path = `${PATH}/${definition.metadata.name}`;
    await client.apply(path, definition, 'test');
    const untilMs = performance.now() + ESTABLISHED_MS;
    for (;;) {
      const { status } = await client.get<Definition>(path);
      if (status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True')) break;
      if (performance.now() > untilMs) throw new Error(`${definition.metadata.name} is not served`);
      await delay(50);
    }
  }
}

/** An API server with the CRDs, and the namespaces. */
export async function startWithCrds(...namespaces: string[]): Promise<ControlPlane> {
  const plane = await ControlPlane.start();
  const client = plane.client();
  await install(client);
  for (const name of namespaces) await client.create('/api/v1/namespaces', { metadata: { name } });
  return plane;
}

/** Where objects of a kind of ours are. */
export function pathOf(kind: string, namespace: string, name?: string): string {
  return `/apis/sidekey.dev/v1alpha1/namespaces/${namespace}/${kind.toLowerCase()}s${name === undefined ? '' : `/${name}`}`;
}
