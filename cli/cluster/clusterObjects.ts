import { Credential } from '../../api/credential.ts';
import { credentialKeyOf, Integration } from '../../api/integration.ts';
import { objectKey } from '../../api/metadata.ts';
import { KubeError } from '../../lib/kube/client.ts';
import type { Problem, SourceObject, SourceSnapshot } from '../../operator/source/objectSource.ts';
import { type Access, told } from './access.ts';

const GROUP = '/apis/sidekey.dev/v1alpha1';

interface Raw {
  metadata: { name: string; namespace: string; generation?: number; labels?: Record<string, string> };
}

/** The Integrations of a namespace with the Credentials they name, as the operator would see them; no Secret is read. */
export async function clusterObjects({ client }: Access, namespace: string): Promise<SourceSnapshot> {
  const problems: Problem[] = [];
  const { items } = await told(() => client.list<Raw>(`${GROUP}/namespaces/${namespace}/integrations`));
  const integrations = new Map<string, SourceObject<Integration>>();
  for (const raw of items) add(integrations, 'Integration', raw, Integration.safeParse(raw), problems);
  const credentials = new Map<string, SourceObject<Credential>>();
  for (const key of new Set([...integrations.values()].map(({ value }) => credentialKeyOf(value)))) {
    const [ns, name] = key.split('/');
    const raw = await orAbsent(() => client.get<Raw>(`${GROUP}/namespaces/${ns}/credentials/${name}`));
    if (raw !== undefined) add(credentials, 'Credential', raw, Credential.safeParse(raw), problems);
  }
  const own = await orAbsent(() => client.get<Raw>(`/api/v1/namespaces/${namespace}`));
  return {
    credentials,
    integrations,
    secrets: new Map(),
    namespaces: new Map([[namespace, own?.metadata.labels ?? {}]]),
    problems,
    unreadableSecrets: new Map(),
    invalid: new Map(),
    unread: { anything: false, objects: new Set() },
  };
}

function add<T extends { metadata: { namespace: string; name: string } }>(
  to: Map<string, SourceObject<T>>,
  kind: string,
  raw: Raw,
  parsed:
    | { success: true; data: T }
    | { success: false; error: { issues: readonly { path: PropertyKey[]; message: string }[] } },
  problems: Problem[],
): void {
  const key = objectKey(raw.metadata);
  const file = `${kind.toLowerCase()}/${raw.metadata.name}`;
  if (parsed.success) to.set(key, { key, file, value: parsed.data, generation: raw.metadata.generation ?? 1 });
  else
    for (const { message, path } of parsed.error.issues)
      problems.push({ file, object: `${kind} ${key}`, path: path.map(String).join('.'), message });
}

/** Of what may be missing, or not ours to see. */
async function orAbsent<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof KubeError && (error.status === 404 || error.status === 403)) return undefined;
    throw error;
  }
}
