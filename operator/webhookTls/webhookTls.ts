import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { KubeClient, KubeObject } from '../../lib/kube/client.ts';
import { Reflector } from '../../lib/kube/reflector.ts';
import type { Logger } from '../../lib/log.ts';
import { decideWebhookTls, SEEN_MS, type WebhookTlsAction, type WebhookTlsState } from './decideWebhookTls.ts';
import { type Endpoint, endpointsOf, serves } from './endpoints.ts';
import { certificatesOf, issuePair, type Pair, readPair } from './pair.ts';

/** While a step is waited for; the API server is asked for two objects. */
const SOON_MS = 1_000;
const SELDOM_MS = 60_000;
const FIELD_MANAGER = 'sidekey-webhook-tls';
const CONFIGURATIONS = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';

export interface WebhookTlsSettings {
  /** Of the release. */
  namespace: string;
  secret: string;
  /** Of the MutatingWebhookConfiguration. */
  configuration: string;
  /** Of the webhook. */
  service: string;
  /** Further names of the certificate, for webhooks that are called by URL. */
  ipAddresses?: readonly string[];
  /** How long every API server needs at the most to see a change of its webhooks. */
  seenMs?: number;
  /** Where replicas listen; those of the Service if left out. */
  endpoints?: () => Promise<readonly Endpoint[]>;
}

export interface WebhookTlsDeps {
  client: KubeClient;
  clock: Clock;
  log: Logger;
  settings: WebhookTlsSettings;
}

interface Configuration extends KubeObject {
  webhooks?: { name: string; clientConfig: { caBundle?: string } }[];
}
interface Secret extends KubeObject {
  data?: Record<string, string>;
}

/** Owns the certificate by which the API server knows the webhook: gather, decide, act, over and over (docs/adr/0024-the-webhook-s-certificate.md). */
export class WebhookTls {
  readonly #o: WebhookTlsDeps;
  readonly #serverName: string;
  readonly #triggers: readonly Pick<Reflector, 'start' | 'close'>[];
  readonly #registered = new Since<string>();
  readonly #served = new Since<string>();
  readonly #unserved = new Since<string>();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #again = false;
  #closed = false;
  #failure = '';

  constructor(deps: WebhookTlsDeps) {
    this.#o = deps;
    const { configuration, namespace, secret, service } = deps.settings;
    this.#serverName = `${service}.${namespace}.svc`;
    const follow = (path: string, name: string) =>
      new Reflector({
        client: deps.client,
        clock: deps.clock,
        log: deps.log,
        path,
        query: { fieldSelector: `metadata.name=${name}` },
        // Read anew in each round; here only that it changed.
        keep: ({ metadata }) => ({ metadata }),
        onChange: () => this.#trigger(),
      });
    this.#triggers = [follow(`/api/v1/namespaces/${namespace}/secrets`, secret), follow(CONFIGURATIONS, configuration)];
  }

  start(): void {
    for (const trigger of this.#triggers) trigger.start();
    this.#trigger();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const trigger of this.#triggers) trigger.close();
  }

  #trigger(): void {
    if (this.#closed) return;
    if (this.#running !== undefined) {
      this.#again = true;
      return;
    }
    clearTimeout(this.#timer);
    this.#running = this.#round().then((waitMs) => {
      this.#running = undefined;
      if (this.#closed) return;
      const delayMs = this.#again ? 0 : waitMs;
      this.#again = false;
      this.#timer = setTimeout(() => this.#trigger(), delayMs);
    });
  }

  /** Returns after how long there may be more to do. */
  async #round(): Promise<number> {
    const { clock, log, settings } = this.#o;
    try {
      const state = await this.#gather();
      if (state === undefined) return SELDOM_MS;
      const action = decideWebhookTls(state, clock.nowMs(), settings.seenMs ?? SEEN_MS);
      this.#failure = '';
      if (action.step === 'wait') return action.until === 'renewal' ? SELDOM_MS : SOON_MS;
      await this.#act(action, state);
      log.info({ step: action.step }, 'the certificate of the webhook takes a step');
      return 0;
    } catch (error) {
      const failure = errorText(error);
      if (failure !== this.#failure)
        log.warn({ error: failure }, 'the certificate of the webhook cannot be looked after; it is tried again');
      this.#failure = failure;
      return SOON_MS;
    }
  }

  /** Undefined if there is no configuration to register anything in. */
  async #gather(): Promise<WebhookTlsState | undefined> {
    const { client, clock, settings } = this.#o;
    const nowMs = clock.nowMs();
    const configuration = await found(client.get<Configuration>(`${CONFIGURATIONS}/${settings.configuration}`));
    if (configuration === undefined) return undefined;
    const secret = await found(client.get<Secret>(this.#secretPath));
    const text = (key: string) => Buffer.from(secret?.data?.[key] ?? '', 'base64').toString();
    const bundle = certificatesOf(text('ca.crt'), nowMs);
    const pair = (name: string) =>
      readPair({ certPem: text(`${name}.crt`), keyPem: text(`${name}.key`), bundle }, [this.#serverName], nowMs);
    const current = pair('tls');
    const next = pair('next');
    const bundles = (configuration.webhooks ?? []).map(({ clientConfig }) =>
      certificatesOf(Buffer.from(clientConfig.caBundle ?? '', 'base64').toString(), nowMs),
    );
    const registered = (bundles[0] ?? []).filter((pem) => bundles.every((other) => other.includes(pem)));
    const served = current !== undefined && (await this.#allServe(current));
    const monotonicMs = clock.monotonicMs();
    return {
      current,
      next,
      bundle,
      registered,
      registeredForMs: this.#registered.forMs(registered.join(), monotonicMs),
      servedForMs: served ? this.#served.forMs(current.certPem, monotonicMs) : this.#served.end(),
      unservedForMs: this.#unserved.forMs(current?.certPem ?? '', monotonicMs),
    };
  }

  async #allServe(pair: Pair): Promise<boolean> {
    const { client, settings } = this.#o;
    const { endpoints = () => endpointsOf(client, settings.namespace, settings.service) } = settings;
    // Whether or not they can be listed, what is due to happen without them must.
    const all = await endpoints().catch(() => []);
    const answers = await Promise.all(all.map((endpoint) => serves(endpoint, pair, this.#serverName)));
    return answers.length > 0 && answers.every(Boolean);
  }

  async #act(action: Exclude<WebhookTlsAction, { step: 'wait' }>, state: WebhookTlsState): Promise<void> {
    const { clock, settings } = this.#o;
    const { current, next } = state;
    const fresh = () =>
      issuePair(
        {
          dnsNames: [this.#serverName, `${settings.service}.${settings.namespace}`],
          ...(settings.ipAddresses && { ipAddresses: settings.ipAddresses }),
        },
        clock.nowMs(),
      );
    switch (action.step) {
      case 'start': {
        const pair = fresh();
        return this.#write({ current: pair, bundle: [pair.caPem] });
      }
      case 'prepare': {
        const pair = fresh();
        return this.#write({ current, next: pair, bundle: [...action.bundle, pair.caPem] });
      }
      case 'switch':
        return this.#write({ current: action.pair, bundle: state.bundle });
      case 'drop':
        return this.#write({ current, next, bundle: action.bundle });
      case 'register':
        return this.#register(action.bundle);
    }
  }

  /** What is not given goes, as it is ours (KEP-555). */
  async #write(contents: {
    current?: Pair | undefined;
    next?: Pair | undefined;
    bundle: readonly string[];
  }): Promise<void> {
    const { namespace, secret } = this.#o.settings;
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    const pair = (name: string, { certPem, keyPem }: Pair) => ({
      [`${name}.crt`]: base64(certPem),
      [`${name}.key`]: base64(keyPem),
    });
    const body = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: secret, namespace },
      type: 'Opaque',
      data: {
        'ca.crt': base64(contents.bundle.join('')),
        ...(contents.current && pair('tls', contents.current)),
        ...(contents.next && pair('next', contents.next)),
      },
    };
    await this.#o.client.apply(this.#secretPath, body, FIELD_MANAGER);
  }

  async #register(bundle: readonly string[]): Promise<void> {
    const { client, settings } = this.#o;
    const path = `${CONFIGURATIONS}/${settings.configuration}`;
    const caBundle = Buffer.from(bundle.join('')).toString('base64');
    const { webhooks = [] } = await client.get<Configuration>(path);
    // By their names: whatever else the chart has said of them stays.
    const patch = { webhooks: webhooks.map(({ name }) => ({ name, clientConfig: { caBundle } })) };
    await client.patch(path, patch, 'strategic');
  }

  get #secretPath(): string {
    const { namespace, secret } = this.#o.settings;
    return `/api/v1/namespaces/${namespace}/secrets/${secret}`;
  }
}

/** For how long something has been the same. */
class Since<T> {
  #value: T | undefined;
  #sinceMs = 0;

  forMs(value: T, nowMs: number): number {
    if (this.#value !== value) {
      this.#value = value;
      this.#sinceMs = nowMs;
    }
    return nowMs - this.#sinceMs;
  }

  end(): undefined {
    this.#value = undefined;
  }
}

async function found<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if ((error as { status?: number }).status === 404) return undefined;
    throw error;
  }
}
