import type { Clock } from '../lib/clock.ts';
import type { KubeClient } from '../lib/kube/client.ts';
import { OneObject } from '../lib/kube/oneObject.ts';
import type { ReflectorState } from '../lib/kube/reflector.ts';
import { trustBundleOf } from '../lib/kube/trustConfigMap.ts';
import type { Logger } from '../lib/log.ts';

/** What the store is trusted by, out of the ConfigMap that it keeps, followed as that changes. */
export class TrustBundle {
  readonly #configMap: OneObject<{ pem: string }>;
  readonly #first = Promise.withResolvers<void>();
  #pem = '';

  constructor(options: {
    client: KubeClient;
    namespace: string;
    /** Of the ConfigMap. */
    name: string;
    clock: Clock;
    log: Logger;
    onChange: () => void;
  }) {
    const { namespace, onChange, ...rest } = options;
    this.#configMap = new OneObject({
      ...rest,
      path: `/api/v1/namespaces/${namespace}/configmaps`,
      read: trustBundleOf,
      onChange: ({ pem }) => {
        if (pem === this.#pem) return;
        this.#pem = pem;
        this.#first.resolve();
        onChange();
      },
    });
  }

  get pem(): string {
    return this.#pem;
  }

  get state(): ReflectorState {
    return this.#configMap.state;
  }

  start(): void {
    this.#configMap.start();
  }

  /** Resolves when there is one. */
  first(): Promise<void> {
    return this.#first.promise;
  }

  close(): void {
    this.#configMap.close();
  }
}
