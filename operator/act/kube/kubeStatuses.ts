import type { ObjectStatus } from '../../../api/condition.ts';
import { API_VERSION } from '../../../api/metadata.ts';
import type { StatusFile } from '../../../api/statusFile.ts';
import { type KubeClient, KubeError } from '../../../lib/kube/client.ts';
import type { Logger } from '../../../lib/log.ts';
import type { StatusSink } from '../statusSink.ts';
import { KeyedQueue } from './keyedQueue.ts';
import { sameStatus } from './sameStatus.ts';
import { saysAll } from './saysAll.ts';

const CONCURRENCY = 8;
const FIELD_MANAGER = 'sidekey-operator';
const GONE = 404;
/** What we have just told may be on its way back; and whoever else writes our fields is not fought at once. */
const TELL_AGAIN_MS = 3_000;
const PLURALS = { Credential: 'credentials', Integration: 'integrations' } as const;

export interface KubeStatusesOptions {
  client: KubeClient;
  log: Logger;
  /** Statuses as the API server has them. */
  first: ReadonlyMap<string, ObjectStatus>;
  /** Whether the object is still there to be told about. */
  exists: (kind: 'Credential' | 'Integration', key: string) => boolean;
  /** A status is different from the one before. */
  onChange?: (
    kind: 'Credential' | 'Integration',
    key: string,
    before: ObjectStatus | undefined,
    after: ObjectStatus,
  ) => void;
  /** Whether we may still write. */
  permitted: () => boolean;
  /** Of a test. */
  tellAgainMs?: number;
}

/** Tells statuses to the API server by server-side apply, each only when it changed and never twice at a time. */
export class KubeStatuses implements StatusSink {
  readonly #o: KubeStatusesOptions;
  readonly #queue: KeyedQueue;
  #statuses: Map<string, ObjectStatus>;
  /** Told and acknowledged, where that is not what is above. */
  readonly #unsent = new Set<string>();
  /** Last seen to be other than what was told. */
  readonly #overwritten = new Set<string>();

  constructor(options: KubeStatusesOptions) {
    this.#o = options;
    this.#statuses = new Map(options.first);
    this.#queue = new KeyedQueue({
      concurrency: CONCURRENCY,
      log: options.log,
      what: 'telling a status',
      work: (id) => this.#send(id),
    });
  }

  get previous(): ReadonlyMap<string, ObjectStatus> {
    return this.#statuses;
  }

  /** Statuses that the API server does not have yet. */
  get depth(): number {
    return this.#unsent.size;
  }

  write(objects: StatusFile['objects']): boolean {
    const next = new Map<string, ObjectStatus>();
    const before = this.#statuses;
    const changed: { kind: 'Credential' | 'Integration'; key: string; status: ObjectStatus }[] = [];
    for (const { key, kind, status } of objects) {
      const id = `${kind} ${key}`;
      const last = before.get(id);
      if (sameStatus(last, status)) next.set(id, last!);
      else {
        next.set(id, status);
        changed.push({ kind, key, status });
      }
    }
    this.#statuses = next;
    for (const { key, kind, status } of changed) {
      const id = `${kind} ${key}`;
      this.#unsent.add(id);
      this.#queue.add(id);
      this.#o.onChange?.(kind, key, before.get(id), status);
    }
    return changed.length > 0;
  }

  /** A status as the API server has it now: where that is not what was told last, somebody else wrote it, and it is told again. */
  seen(kind: 'Credential' | 'Integration', key: string, status: unknown): void {
    const id = `${kind} ${key}`;
    const ours = this.#statuses.get(id);
    if (ours === undefined) return;
    if (saysAll(status, ours)) this.#overwritten.delete(id);
    else {
      this.#overwritten.add(id);
      this.#queue.addAfter(id, this.#o.tellAgainMs ?? TELL_AGAIN_MS);
    }
  }

  close(): void {
    this.#queue.close();
  }

  async #send(id: string): Promise<void> {
    const overwritten = this.#overwritten.delete(id);
    if (!overwritten && !this.#unsent.has(id)) return;
    const status = this.#statuses.get(id);
    const [kind, key] = id.split(' ') as ['Credential' | 'Integration', string];
    if (status === undefined || !this.#o.permitted() || !this.#o.exists(kind, key)) {
      this.#unsent.delete(id);
      return;
    }
    const [namespace, name] = key.split('/') as [string, string];
    const path = `/apis/${API_VERSION}/namespaces/${namespace}/${PLURALS[kind]}/${name}/status`;
    const body = { apiVersion: API_VERSION, kind, metadata: { namespace, name }, status };
    try {
      await this.#o.client.apply(path, body, FIELD_MANAGER);
    } catch (error) {
      // It is being deleted under our hands.
      if (!(error instanceof KubeError && error.status === GONE)) {
        if (overwritten) this.#overwritten.add(id);
        throw error;
      }
    }
    if (this.#statuses.get(id) === status) this.#unsent.delete(id);
  }
}
