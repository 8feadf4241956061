import type { V1ConfigMap } from '@kubernetes/client-node';
import type { Clock } from '../lib/clock.ts';
import type { KubeClient } from '../lib/kube/client.ts';
import { Reflector, type ReflectorState } from '../lib/kube/reflector.ts';
import type { Logger } from '../lib/log.ts';

/** Key of the ConfigMap that the store writes. */
const PEM_KEY = 'ca.pem';

interface Bundle {
  pem: string | undefined;
}

/** What the store is trusted by, out of the ConfigMap that it keeps, followed as that changes. */
export class TrustBundle {
  readonly #reflector: Reflector<Bundle>;
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
    const { client, clock, log, name, namespace, onChange } = options;
    this.#reflector = new Reflector<Bundle>({
      client,
      path: `/api/v1/namespaces/${namespace}/configmaps`,
      query: { fieldSelector: `metadata.name=${name}` },
      clock,
      log,
      keep: (object) => ({ pem: (object as V1ConfigMap).data?.[PEM_KEY] }),
      onChange: ({ after }) => {
        // One that is gone for a moment says nothing.
        if (after?.pem === undefined || after.pem === this.#pem) return;
        this.#pem = after.pem;
        this.#first.resolve();
        onChange();
      },
    });
  }

  get pem(): string {
    return this.#pem;
  }

  get state(): ReflectorState {
    return this.#reflector.state;
  }

  start(): void {
    this.#reflector.start();
  }

  /** Resolves when there is one. */
  first(): Promise<void> {
    return this.#first.promise;
  }

  close(): void {
    this.#reflector.close();
  }
}
