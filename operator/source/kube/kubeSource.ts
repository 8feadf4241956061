import type { ObjectStatus } from '../../../api/condition.ts';
import { Credential } from '../../../api/credential.ts';
import { Integration } from '../../../api/integration.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { KubeClient, KubeObject } from '../../../lib/kube/client.ts';
import { Reflector, type ReflectorState } from '../../../lib/kube/reflector.ts';
import type { Logger } from '../../../lib/log.ts';
import type { InvalidObject, ObjectSource, SourceSnapshot } from '../objectSource.ts';
import { SecretSet } from './secretSet.ts';
import { type TypedObject, TypedObjects } from './typedObjects.ts';

export interface KubeSourceOptions {
  client: KubeClient;
  clock: Clock;
  log: Logger;
  /** The operator's own ServiceAccount, which may be given a right to read Secrets. */
  serviceAccount: { namespace: string; name: string };
  /** Name of the ClusterRole that allows to read Secrets. */
  secretReaderRole: string;
  /** Finalizers have changed, and nothing that is desired. */
  onMetadata: () => void;
  /** The status of an object that we know, as the API server has it now. */
  onStatus: (kind: 'Credential' | 'Integration', key: string, status: unknown) => void;
}

interface NamespaceLabels {
  labels: Readonly<Record<string, string>>;
}

/** Objects of a cluster, followed as they change; what is handed out is kept up to date and never copied for each change. */
export class KubeSource implements ObjectSource {
  readonly credentials: TypedObjects<Credential>;
  readonly integrations: TypedObjects<Integration>;
  readonly #namespaces: Reflector<NamespaceLabels>;
  readonly #secrets: SecretSet;
  readonly #labels = new Map<string, Readonly<Record<string, string>>>();
  #onChange: () => void = () => {};
  #snapshot: SourceSnapshot | undefined;

  constructor(options: KubeSourceOptions) {
    const { client, clock, log, onMetadata, onStatus } = options;
    const common = { client, clock, log, onMetadata };
    this.credentials = new TypedObjects<Credential>({
      ...common,
      kind: 'Credential',
      plural: 'credentials',
      schema: Credential,
      onStatus: (key, status) => onStatus('Credential', key, status),
      onChange: (_key, before, after) => this.#credentialChanged(before, after),
    });
    this.integrations = new TypedObjects<Integration>({
      ...common,
      kind: 'Integration',
      plural: 'integrations',
      schema: Integration,
      onStatus: (key, status) => onStatus('Integration', key, status),
      onChange: () => this.#changed(),
    });
    this.#namespaces = new Reflector<NamespaceLabels>({
      client,
      path: '/api/v1/namespaces',
      clock,
      log,
      keep: (object) => ({ labels: (object.metadata as { labels?: Record<string, string> }).labels ?? {} }),
      onChange: ({ after, before, key }) => this.#namespaceChanged(key, before, after),
    });
    this.#secrets = new SecretSet({
      client,
      clock,
      log,
      grantCommand: (namespace) =>
        `kubectl create rolebinding sidekey -n ${namespace} --clusterrole=${options.secretReaderRole} ` +
        `--serviceaccount=${options.serviceAccount.namespace}:${options.serviceAccount.name}`,
      onChange: () => this.#changed(),
    });
  }

  async start(onChange: () => void): Promise<void> {
    const reflectors = this.#reflectors();
    for (const reflector of reflectors.values()) reflector.start();
    await Promise.all([...reflectors.values()].map((reflector) => reflector.synced()));
    await this.#secrets.start();
    this.#onChange = onChange;
  }

  /** The maps in it are live: they are what is known now, whenever they are read. */
  snapshot(): SourceSnapshot {
    this.#snapshot ??= this.#compose();
    return this.#snapshot;
  }

  /** `Kind namespace/name` → the status that the API server had when this source started. */
  firstStatuses(): Map<string, ObjectStatus> {
    const all = new Map<string, ObjectStatus>();
    for (const [key, status] of this.credentials.firstStatuses) all.set(`Credential ${key}`, status);
    for (const [key, status] of this.integrations.firstStatuses) all.set(`Integration ${key}`, status);
    this.credentials.firstStatuses.clear();
    this.integrations.firstStatuses.clear();
    return all;
  }

  /** An object as the API server has it now, by kind and key. */
  item(kind: 'Credential' | 'Integration', key: string): Omit<TypedObject<unknown>, 'value'> | undefined {
    return (kind === 'Credential' ? this.credentials : this.integrations).items.get(key);
  }

  /** What is followed, by name, and how that is. */
  states(): Map<string, ReflectorState> {
    const all = new Map([...this.#reflectors()].map(([name, { state }]) => [name, state]));
    for (const [namespace, state] of this.#secrets.states()) all.set(`secrets/${namespace}`, state);
    return all;
  }

  close(): void {
    for (const reflector of this.#reflectors().values()) reflector.close();
    this.#secrets.close();
  }

  #reflectors(): Map<string, { state: ReflectorState; start(): void; synced(): Promise<void>; close(): void }> {
    return new Map<string, Reflector<KubeObject> | Reflector<TypedObject<Credential>>>([
      ['credentials', this.credentials.reflector],
      ['integrations', this.integrations.reflector as unknown as Reflector<KubeObject>],
      ['namespaces', this.#namespaces as unknown as Reflector<KubeObject>],
    ]);
  }

  #compose(): SourceSnapshot {
    const invalid = new Map<string, InvalidObject>([...this.credentials.invalid, ...this.integrations.invalid]);
    return {
      credentials: this.credentials.objects,
      integrations: this.integrations.objects,
      secrets: this.#secrets.secrets,
      namespaces: this.#labels,
      problems: [],
      unreadableSecrets: this.#secrets.unreadable,
      invalid,
      unread: { anything: false, objects: new Set(invalid.keys()) },
    };
  }

  #credentialChanged(before: Credential | undefined, after: Credential | undefined): void {
    const last = before?.spec.source.secret?.name;
    const name = after?.spec.source.secret?.name;
    if (last !== name) {
      if (name !== undefined) this.#secrets.want(after!.metadata.namespace, name);
      if (last !== undefined) this.#secrets.unwant(before!.metadata.namespace, last);
    }
    this.#changed();
  }

  #namespaceChanged(name: string, before: NamespaceLabels | undefined, after: NamespaceLabels | undefined): void {
    if (after === undefined) this.#labels.delete(name);
    else this.#labels.set(name, after.labels);
    if (JSON.stringify(before?.labels) !== JSON.stringify(after?.labels)) this.#changed();
  }

  #changed(): void {
    this.#snapshot = undefined;
    this.#onChange();
  }
}
