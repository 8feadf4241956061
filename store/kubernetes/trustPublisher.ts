import { Backoff } from '../../lib/backoff.ts';
import { errorText } from '../../lib/errors.ts';
import type { KubeClient } from '../../lib/kube/client.ts';
import { TRUST_KEY } from '../../lib/kube/trustConfigMap.ts';
import type { Logger } from '../../lib/log.ts';

const FIELD_MANAGER = 'sidekey-store';

export interface TrustPublisherOptions {
  client: KubeClient;
  log: Logger;
  configMap: { namespace: string; name: string };
  /** As it is now. */
  trustBundlePem: () => string;
}

/** Keeps a ConfigMap at what the store is trusted by, for operator and webhook to read; serving does not wait for it. */
export class TrustPublisher {
  readonly #o: TrustPublisherOptions;
  readonly #stop = new AbortController();
  readonly #backoff = new Backoff({ firstMs: 500, limitMs: 30_000 });
  #published: string | undefined;
  #publishing = false;

  constructor(options: TrustPublisherOptions) {
    this.#o = options;
  }

  /** Whether what is published is what the store is trusted by now. */
  get current(): boolean {
    return this.#published === this.#o.trustBundlePem();
  }

  /** Publishes what there is now, again and again until it is there. */
  publish(): void {
    if (this.#publishing) return;
    this.#publishing = true;
    this.#run().finally(() => {
      this.#publishing = false;
    });
  }

  close(): void {
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    const { client, configMap, log, trustBundlePem } = this.#o;
    const { name, namespace } = configMap;
    while (!this.#stop.signal.aborted && !this.current) {
      const pem = trustBundlePem();
      try {
        const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: { [TRUST_KEY]: pem } };
        await client.apply(`/api/v1/namespaces/${namespace}/configmaps/${name}`, body, FIELD_MANAGER);
        this.#published = pem;
        this.#backoff.reset();
        log.info({ configMap: `${namespace}/${name}` }, 'the trust bundle is published');
      } catch (error) {
        log.warn({ error: errorText(error) }, 'the trust bundle could not be published yet; it is tried again');
        await this.#backoff.pause(0, this.#stop.signal);
      }
    }
  }
}
