import type { Clock } from '../../../lib/clock.ts';
import type { KubeClient } from '../../../lib/kube/client.ts';
import type { ReflectorState } from '../../../lib/kube/reflector.ts';
import type { Logger } from '../../../lib/log.ts';
import type { SecretValue, SourceObject, UnreadableSecret } from '../objectSource.ts';
import { NamespaceSecrets } from './namespaceSecrets.ts';

export interface SecretSetOptions {
  client: KubeClient;
  clock: Clock;
  log: Logger;
  grantCommand: (namespace: string) => string;
  onChange: () => void;
}

/** The Secrets that Credentials name, of all namespaces that have such Credentials. */
export class SecretSet {
  readonly #o: SecretSetOptions;
  readonly #namespaces = new Map<string, NamespaceSecrets>();
  #started = false;
  #secrets: Map<string, SourceObject<SecretValue>> | undefined;
  #unreadable: Map<string, UnreadableSecret> | undefined;

  constructor(options: SecretSetOptions) {
    this.#o = options;
  }

  /** Starts with what is wanted by now; resolves when each namespace was read once, or could not be. */
  async start(): Promise<void> {
    this.#started = true;
    for (const one of this.#namespaces.values()) one.start();
    await Promise.all([...this.#namespaces.values()].map(({ settled }) => settled));
  }

  want(namespace: string, name: string): void {
    let secrets = this.#namespaces.get(namespace);
    if (secrets === undefined) {
      const { grantCommand, ...rest } = this.#o;
      secrets = new NamespaceSecrets({
        ...rest,
        namespace,
        grantCommand: grantCommand(namespace),
        onChange: () => this.#changed(),
      });
      this.#namespaces.set(namespace, secrets);
      secrets.want(name);
      if (this.#started) secrets.start();
    } else secrets.want(name);
    this.#forget();
  }

  unwant(namespace: string, name: string): void {
    const secrets = this.#namespaces.get(namespace);
    if (secrets === undefined) return;
    if (!secrets.unwant(name)) {
      secrets.close();
      this.#namespaces.delete(namespace);
    }
    this.#forget();
  }

  /** By key; made anew only after a change. */
  get secrets(): ReadonlyMap<string, SourceObject<SecretValue>> {
    this.#secrets ??= new Map([...this.#namespaces.values()].flatMap(({ items }) => [...items]));
    return this.#secrets;
  }

  get unreadable(): ReadonlyMap<string, UnreadableSecret> {
    if (this.#unreadable === undefined) {
      this.#unreadable = new Map();
      for (const [namespace, secrets] of this.#namespaces) {
        for (const name of secrets.wanted) {
          const why = secrets.unreadable(name);
          if (why !== undefined) this.#unreadable.set(`${namespace}/${name}`, why);
        }
      }
    }
    return this.#unreadable;
  }

  /** By namespace. */
  states(): Map<string, ReflectorState> {
    return new Map([...this.#namespaces].map(([namespace, { state }]) => [namespace, state]));
  }

  close(): void {
    for (const one of this.#namespaces.values()) one.close();
    this.#namespaces.clear();
    this.#forget();
  }

  #changed(): void {
    this.#forget();
    this.#o.onChange();
  }

  #forget(): void {
    this.#secrets = undefined;
    this.#unreadable = undefined;
  }
}
