import type { z } from 'zod';
import type { ObjectStatus } from '../../../api/condition.ts';
import { API_VERSION } from '../../../api/metadata.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { KubeClient, KubeObject } from '../../../lib/kube/client.ts';
import { Reflector } from '../../../lib/kube/reflector.ts';
import type { Logger } from '../../../lib/log.ts';
import type { InvalidObject, SourceObject } from '../objectSource.ts';
import { pathText, schemaIssues } from '../schemaIssues.ts';
import { STORE_FINALIZER } from './finalizer.ts';
import { readStatus } from './readStatus.ts';

/** What is kept of an object of ours. */
export interface TypedObject<T> {
  uid: string;
  generation: number;
  /** Undefined where it is not valid. */
  value: T | undefined;
  /** What is wrong with it. */
  problem: string | undefined;
  /** Milliseconds since 1970: somebody has asked that it goes. */
  deletedAtMs: number | undefined;
  /** Whether it carries our finalizer. */
  finalizer: boolean;
}

export interface TypedObjectsOptions<T> {
  client: KubeClient;
  kind: 'Credential' | 'Integration';
  /** `credentials` */
  plural: string;
  schema: z.ZodType<T>;
  clock: Clock;
  log: Logger;
  /** What is desired has changed, not merely a status. `before` and `after` are valid ones. */
  onChange: (key: string, before: T | undefined, after: T | undefined) => void;
  /** What is not desired has changed: finalizers, the time of deletion. */
  onMetadata: () => void;
  /** The status of an object that we know, as the API server has it now. */
  onStatus: (key: string, status: unknown) => void;
}

/** The objects of one of our kinds, parsed once for each change of their spec; what is not valid keeps what was last good. */
export class TypedObjects<T> {
  readonly #o: TypedObjectsOptions<T>;
  readonly reflector: Reflector<TypedObject<T>>;
  /** Desired: valid or once valid, and not being deleted. */
  readonly objects = new Map<string, SourceObject<T>>();
  readonly invalid = new Map<string, InvalidObject>();
  /** Statuses as the first list had them: what the times of conditions go on from. By key, and only until that is read. */
  readonly firstStatuses = new Map<string, ObjectStatus>();

  constructor(options: TypedObjectsOptions<T>) {
    this.#o = options;
    this.reflector = new Reflector<TypedObject<T>>({
      client: options.client,
      path: `/apis/${API_VERSION}/${options.plural}`,
      clock: options.clock,
      log: options.log,
      keep: (object) => this.#keep(object),
      onChange: (change) => this.#changed(change.key, change.before, change.after),
    });
  }

  /** All of them, those that are being deleted too. */
  get items(): ReadonlyMap<string, TypedObject<T>> {
    return this.reflector.items;
  }

  #keep(object: KubeObject): TypedObject<T> {
    const {
      deletionTimestamp,
      finalizers = [],
      generation = 0,
      name,
      namespace,
      uid = '',
    } = (object.metadata ?? {}) as RawMetadata;
    const { status } = object as { status?: unknown };
    const key = `${namespace}/${name}`;
    const before = this.reflector.items.get(key);
    const rest = {
      deletedAtMs: deletionTimestamp === undefined ? undefined : Date.parse(deletionTimestamp),
      finalizer: finalizers.includes(STORE_FINALIZER),
    };
    // A status that we have written ourselves comes back as a change: it is not parsed again.
    if (before?.uid === uid && before.generation === generation) {
      this.#o.onStatus(key, status);
      return { ...before, ...rest };
    }
    if (!this.reflector.state.synced) {
      const first = readStatus(status);
      if (first !== undefined) this.firstStatuses.set(key, first);
    }
    return { uid, generation, ...this.#parse(object), ...rest };
  }

  #parse(object: KubeObject): { value: T | undefined; problem: string | undefined } {
    const { creationTimestamp, generation, name, namespace, uid } = (object.metadata ?? {}) as RawMetadata;
    const { spec } = object as { spec?: unknown };
    // Of the metadata only what is used: managedFields are larger than the rest.
    const metadata = { name, namespace, uid, generation, creationTimestamp };
    const parsed = this.#o.schema.safeParse({ apiVersion: API_VERSION, kind: this.#o.kind, metadata, spec });
    if (parsed.success) return { value: parsed.data, problem: undefined };
    const problem = schemaIssues(this.#o.schema, parsed.error)
      .map(({ key, message, path }) => `${pathText([...path, ...(key === undefined ? [] : [key])])}: ${message}`)
      .join('; ');
    return { value: undefined, problem };
  }

  #changed(key: string, before: TypedObject<T> | undefined, after: TypedObject<T> | undefined): void {
    const id = `${this.#o.kind} ${key}`;
    const last = this.objects.get(key);
    if (after === undefined || after.deletedAtMs !== undefined) {
      this.invalid.delete(id);
      this.objects.delete(key);
      if (last !== undefined) this.#o.onChange(key, last.value, undefined);
      else this.#o.onMetadata();
      return;
    }
    if (
      before !== undefined &&
      before.value === after.value &&
      before.problem === after.problem &&
      before.uid === after.uid
    ) {
      if (before.finalizer !== after.finalizer) this.#o.onMetadata();
      return;
    }
    const { generation, problem, value } = after;
    const file = `${this.#o.plural}/${key}`;
    if (value === undefined) {
      const still =
        last === undefined
          ? 'It is not in force'
          : `What was last good of it (generation ${last.generation}) stays in force`;
      this.invalid.set(id, {
        kind: this.#o.kind,
        key,
        file,
        generation,
        message: `${problem}. ${still} until it is corrected.`,
      });
      this.#o.onChange(key, last?.value, last?.value);
      return;
    }
    this.invalid.delete(id);
    this.objects.set(key, { key, file, value, generation });
    this.#o.onChange(key, last?.value, value);
  }
}

interface RawMetadata {
  name?: string;
  namespace?: string;
  uid?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  finalizers?: string[];
}
