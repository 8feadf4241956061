import { z } from 'zod';
import { Subjects } from '../../api/integration.ts';
import { placeholderOf } from '../../api/placeholder.ts';
import type { Clock } from '../../lib/clock.ts';
import type { KubeClient, KubeObject } from '../../lib/kube/client.ts';
import { keyOf } from '../../lib/kube/kubeObject.ts';
import { Reflector, type ReflectorChange } from '../../lib/kube/reflector.ts';
import type { Logger } from '../../lib/log.ts';
import type { KnownIntegration, NamespaceObjects } from '../inject/settings.ts';

const API = '/apis/sidekey.dev/v1alpha1';
/** Only what is asked for here, so that an object of another version is known as long as these are what they are. */
const CredentialPart = z.object({ spec: z.object({ hosts: z.array(z.string()) }) });
const IntegrationPart = z.object({
  spec: z.object({ alias: z.string().optional(), hosts: z.array(z.string()), subjects: Subjects }),
});

interface Entry {
  credentials: Map<string, { placeholder: string }>;
  integrations: Map<string, KnownIntegration>;
}

const NOTHING: NamespaceObjects = { credentials: new Map(), integrations: new Map() };

/** The Credentials and Integrations of the cluster, by namespace, as far as a pod's injection asks for them. */
export class ClusterObjects {
  readonly #namespaces = new Map<string, Entry>();
  readonly #reflectors: readonly Pick<Reflector, 'start' | 'state' | 'close'>[];

  constructor(o: { client: KubeClient; clock: Clock; log: Logger }) {
    const credentials = new Reflector<{ placeholder: string }>({
      ...o,
      path: `${API}/credentials`,
      keep: knownCredential,
      onChange: (change) => this.#take('credentials', change),
    });
    const integrations = new Reflector<KnownIntegration>({
      ...o,
      path: `${API}/integrations`,
      keep: knownIntegration,
      onChange: (change) => this.#take('integrations', change),
    });
    this.#reflectors = [credentials, integrations];
  }

  start(): void {
    for (const reflector of this.#reflectors) reflector.start();
  }

  /** Whether everything was listed once; what is known may be old while the API server is away, which only costs a warning. */
  get synced(): boolean {
    return this.#reflectors.every((reflector) => reflector.state.synced);
  }

  of(namespace: string): NamespaceObjects {
    return this.#namespaces.get(namespace) ?? NOTHING;
  }

  close(): void {
    for (const reflector of this.#reflectors) reflector.close();
  }

  #take<Kind extends keyof Entry>(kind: Kind, { after, key }: ReflectorChange<object>): void {
    const [namespace, name] = key.split('/') as [string, string];
    const entry = this.#namespaces.get(namespace) ?? { credentials: new Map(), integrations: new Map() };
    this.#namespaces.set(namespace, entry);
    const items = entry[kind] as Map<string, object>;
    if (after === undefined) items.delete(name);
    else items.set(name, after);
    if (entry.credentials.size + entry.integrations.size === 0) this.#namespaces.delete(namespace);
  }
}

/** What is known of a Credential; undefined if it is none that can be read. */
export function knownCredential(object: KubeObject): { placeholder: string } | undefined {
  const parsed = CredentialPart.safeParse(object);
  if (!parsed.success) return undefined;
  return { placeholder: placeholderOf({ key: keyOf(object), hosts: parsed.data.spec.hosts }) };
}

/** The same of an Integration. */
export function knownIntegration(object: KubeObject): KnownIntegration | undefined {
  const parsed = IntegrationPart.safeParse(object);
  return parsed.success ? parsed.data.spec : undefined;
}
