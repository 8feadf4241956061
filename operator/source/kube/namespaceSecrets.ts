import type { Clock } from '../../../lib/clock.ts';
import { errorText } from '../../../lib/errors.ts';
import type { KubeClient, KubeObject } from '../../../lib/kube/client.ts';
import { Reflector, type ReflectorState } from '../../../lib/kube/reflector.ts';
import type { Logger } from '../../../lib/log.ts';
import type { SecretValue, SourceObject, UnreadableSecret } from '../objectSource.ts';
import { secretValue } from '../secretValue.ts';

/** Secrets can have a megabyte each, and most are none of ours. */
const PAGE_ITEMS = 50;
/** What helm keeps of releases is large, and never a credential. */
const FIELD_SELECTOR = 'type!=helm.sh/release.v1';
const FORBIDDEN = 403;
const REFRESH_AGAIN_MS = 1_000;

export interface NamespaceSecretsOptions {
  client: KubeClient;
  namespace: string;
  clock: Clock;
  log: Logger;
  /** What a person runs so that Secrets can be read. */
  grantCommand: string;
  onChange: () => void;
}

/** The Secrets of one namespace that its Credentials name; of all others nothing is kept. */
export class NamespaceSecrets {
  readonly #o: NamespaceSecretsOptions;
  readonly #reflector: Reflector<SourceObject<SecretValue>>;
  /** Name of the Secret → how many Credentials name it. */
  readonly #wanted = new Map<string, number>();
  /** Wanted since the list, and asked for. */
  readonly #asked = new Set<string>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #started = false;
  #closed = false;
  readonly #settled = Promise.withResolvers<void>();

  constructor(options: NamespaceSecretsOptions) {
    this.#o = options;
    const { client, clock, log, namespace } = options;
    this.#reflector = new Reflector<SourceObject<SecretValue>>({
      client,
      path: `/api/v1/namespaces/${namespace}/secrets`,
      query: { limit: PAGE_ITEMS, fieldSelector: FIELD_SELECTOR },
      clock,
      log,
      keep: (object) => this.#keep(object),
      onChange: ({ after, before }) => {
        if (before === after) return;
        before?.value.material.destroy();
        options.onChange();
      },
      onState: (state) => this.#stateChanged(state),
    });
  }

  get items(): ReadonlyMap<string, SourceObject<SecretValue>> {
    return this.#reflector.items;
  }

  get state(): ReflectorState {
    return this.#reflector.state;
  }

  get wanted(): Iterable<string> {
    return this.#wanted.keys();
  }

  /** Resolves when the Secrets were read once, or could not be. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  start(): void {
    this.#started = true;
    this.#reflector.start();
  }

  want(name: string): void {
    const count = this.#wanted.get(name) ?? 0;
    this.#wanted.set(name, count + 1);
    if (count > 0 || !this.#started) return;
    this.#asked.add(name);
    this.#ask(name);
  }

  /** Whether any is still wanted. */
  unwant(name: string): boolean {
    const count = this.#wanted.get(name) ?? 0;
    if (count > 1) this.#wanted.set(name, count - 1);
    else {
      this.#wanted.delete(name);
      this.#reflector.drop(`${this.#o.namespace}/${name}`);
    }
    return this.#wanted.size > 0;
  }

  /** Why it cannot be told whether that Secret is there; undefined if it can. */
  unreadable(name: string): UnreadableSecret | undefined {
    const { grantCommand, namespace } = this.#o;
    const { failure, synced } = this.#reflector.state;
    if (failure?.status === FORBIDDEN)
      return {
        reason: 'SecretForbidden',
        message: `The operator may not read Secrets in namespace ${namespace}; who may grant that runs: ${grantCommand}`,
      };
    if (synced && !this.#asked.has(name)) return undefined;
    const why = failure === undefined ? '' : ` (${failure.reason})`;
    return {
      reason: 'SecretPending',
      message: `Secrets of namespace ${namespace} are being read${why}; it is tried until that works.`,
    };
  }

  close(): void {
    this.#closed = true;
    this.#reflector.close();
    for (const timer of this.#timers) clearTimeout(timer);
    for (const { value } of this.#reflector.items.values()) value.material.destroy();
  }

  #keep(object: KubeObject): SourceObject<SecretValue> | undefined {
    const { name = '', namespace = '' } = object.metadata ?? {};
    if (!this.#wanted.has(name)) return undefined;
    const { data } = object as { data?: Record<string, string> };
    const key = `${namespace}/${name}`;
    const value = secretValue({ data });
    const before = this.#reflector.items.get(key);
    // Where the bytes are the same nothing has changed for us, whatever else of the Secret has.
    if (before?.value.material.equals(value.material) === true) {
      value.material.destroy();
      return before;
    }
    return { key, file: `secrets/${key}`, value, generation: 1 };
  }

  /** Until it was answered the Secret is neither there nor gone. */
  #ask(name: string): void {
    this.#reflector.refresh(name).then(
      () => {
        this.#asked.delete(name);
        if (!this.#closed) this.#o.onChange();
      },
      (error: unknown) => {
        if (this.#closed) return;
        const { log, namespace } = this.#o;
        log.debug({ namespace, error: errorText(error) }, 'a Secret could not be read; it is tried again');
        const timer = setTimeout(
          () => {
            this.#timers.delete(timer);
            this.#ask(name);
          },
          REFRESH_AGAIN_MS * (1 + 9 * Math.random()),
        );
        this.#timers.add(timer);
      },
    );
  }

  #stateChanged({ failure, synced }: ReflectorState): void {
    if (synced || failure !== undefined) this.#settled.resolve();
    this.#o.onChange();
  }
}
