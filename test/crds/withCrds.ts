import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parse } from 'yaml';
import { type KubeClient, KubeError } from '../../lib/kube/client.ts';
import { ControlPlane } from '../cluster/controlPlane.ts';

/** The first run on a machine builds the control plane. */
export const START_LIMIT_MS = 20 * 60_000;

const CRDS = join(import.meta.dirname, '..', '..', 'crds');
const PATH = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const ESTABLISHED_MS = 20_000;

export interface Definition {
  metadata: { name: string };
  spec: {
    group: string;
    names: { plural: string; kind: string };
    versions: { name: string; served: boolean; schema: { openAPIV3Schema: Record<string, unknown> } }[];
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
    await established(client, definition.metadata.name);
  }
}

/** Until the API server serves the objects of a CRD, which is a moment after that is there; `name` as in `credentials.sidekey.dev`. */
export async function established(client: KubeClient, name: string): Promise<void> {
  const untilMs = performance.now() + ESTABLISHED_MS;
  for (;;) {
    const { spec, status } = await client.get<Definition>(`${PATH}/${name}`);
    const version = spec.versions.find(({ served }) => served)!;
    const isReady = status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True');
    if (isReady && (await answers(client, `/apis/${spec.group}/${version.name}/${spec.names.plural}`))) return;
    if (performance.now() > untilMs) throw new Error(`${name} is not served`);
    await delay(50);
  }
}

async function answers(client: KubeClient, path: string): Promise<boolean> {
  try {
    await client.list(path);
    return true;
  } catch (error) {
    if (error instanceof KubeError && error.status === 404) return false;
    throw error;
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
