import { INJECT_LABEL, podSubject, REQUESTED_BY_ANNOTATION, TOKEN_AUDIENCE } from '../../api/pods.ts';
import type { Session } from '../../api/session.ts';
import { type KubeClient, KubeError } from '../../lib/kube/client.ts';
import type { Logger } from '../../lib/log.ts';
import { storeError } from '../errors.ts';
import { InFlightLimit } from './inFlightLimit.ts';

/** Calls to the API server at one time, and joins that wait for theirs: a burst of pods must not become one of reviews. */
const CALL_LIMIT = 32;
const WAITING_LIMIT = 1_024;
const SERVICE_ACCOUNT = /^system:serviceaccount:([^:]+):([^:]+)$/;
/** Of tokens that are bound to a pod (KEP-1205; authentication.k8s.io). */
const POD_NAME = 'authentication.kubernetes.io/pod-name';
const POD_UID = 'authentication.kubernetes.io/pod-uid';
const TOKEN_LIMIT_BYTES = 16 * 1024;

/** Who a projected ServiceAccount token stands for. */
export type PodIdentity =
  | { kind: 'operator'; pod: { name: string; uid: string } }
  | { kind: 'session'; session: Omit<Session, 'id' | 'startedAt'> & { pod: { name: string; uid: string } } };

interface TokenReview {
  status?: {
    authenticated?: boolean;
    audiences?: string[];
    user?: { username?: string; extra?: Record<string, string[]> };
  };
}

/** core/v1 Pod, as far as we judge it. */
interface LivingPod {
  metadata: {
    uid: string;
    deletionTimestamp?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  spec: { serviceAccountName?: string };
  status?: { phase?: string };
}

export interface PodIdentitiesOptions {
  client: KubeClient;
  log: Logger;
  /** Whose pods are operators. */
  operator: { namespace: string; serviceAccount: string };
}

/**
 * Tells who shows a token: the API server reviews it, and the living pod is looked at, because the review alone still says yes after
 * the pod is gone, and says nothing of labels (docs/adr/0025-identity-by-token-and-living-pod.md).
 */
export class PodIdentities {
  readonly #o: PodIdentitiesOptions;
  readonly #calls = new InFlightLimit(CALL_LIMIT, WAITING_LIMIT);

  constructor(options: PodIdentitiesOptions) {
    this.#o = options;
  }

  /** @throws PodTokenInvalid, PodNotAdmitted, KubernetesUnavailable, KubernetesForbidden, Overloaded */
  async of(token: string): Promise<PodIdentity> {
    if (Buffer.byteLength(token) > TOKEN_LIMIT_BYTES) throw storeError('PodTokenInvalid');
    const { namespace, pod, serviceAccount } = await this.#review(token);
    const living = await this.#pod(namespace, pod.name);
    if (living === undefined || living.metadata.uid !== pod.uid)
      throw storeError('PodNotAdmitted', `The pod ${namespace}/${pod.name} of the token is gone.`);
    const { annotations = {}, deletionTimestamp, labels = {} } = living.metadata;
    const where = `${namespace}/${pod.name}`;
    if (deletionTimestamp !== undefined) throw storeError('PodNotAdmitted', `The pod ${where} is being deleted.`);
    const { phase } = living.status ?? {};
    if (phase === 'Succeeded' || phase === 'Failed')
      throw storeError('PodNotAdmitted', `The pod ${where} has ended (${phase}).`);
    if (living.spec.serviceAccountName !== serviceAccount)
      throw storeError('PodNotAdmitted', `The pod ${where} does not run as the ServiceAccount of the token.`);
    const { operator } = this.#o;
    if (namespace === operator.namespace && serviceAccount === operator.serviceAccount)
      return { kind: 'operator', pod };
    if (labels[INJECT_LABEL] !== 'true')
      throw storeError('PodNotAdmitted', `The pod ${where} has no label ${INJECT_LABEL}=true.`);
    return {
      kind: 'session',
      session: {
        namespace,
        serviceAccount,
        ...podSubject(labels),
        pod,
        requester: annotations[REQUESTED_BY_ANNOTATION] ?? 'unknown',
      },
    };
  }

  /** Whether the API server says that there is no such pod any more; not if it cannot be asked. */
  async isGone(namespace: string, pod: { name: string; uid: string }): Promise<boolean> {
    try {
      return (await this.#pod(namespace, pod.name))?.metadata.uid !== pod.uid;
    } catch (error) {
      this.#o.log.warn({ error: (error as Error).message }, 'a pod could not be looked at before its renewal');
      return false;
    }
  }

  async #review(
    token: string,
  ): Promise<{ namespace: string; serviceAccount: string; pod: { name: string; uid: string } }> {
    const review = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, audiences: [TOKEN_AUDIENCE] },
    };
    const { status = {} } = await this.#call(() =>
      this.#o.client.create<TokenReview>('/apis/authentication.k8s.io/v1/tokenreviews', review),
    );
    if (status.authenticated !== true || status.audiences?.includes(TOKEN_AUDIENCE) !== true)
      throw storeError('PodTokenInvalid');
    const { extra = {}, username = '' } = status.user ?? {};
    const [, namespace, serviceAccount] = SERVICE_ACCOUNT.exec(username) ?? [];
    const [name] = extra[POD_NAME] ?? [];
    const [uid] = extra[POD_UID] ?? [];
    if (namespace === undefined || serviceAccount === undefined)
      throw storeError('PodTokenInvalid', 'The token is not one of a ServiceAccount.');
    if (name === undefined || uid === undefined)
      throw storeError('PodTokenInvalid', 'The token is not bound to a pod.');
    return { namespace, serviceAccount, pod: { name, uid } };
  }

  /** Undefined if there is none of that name. */
  async #pod(namespace: string, name: string): Promise<LivingPod | undefined> {
    try {
      return await this.#call(() => this.#o.client.get<LivingPod>(`/api/v1/namespaces/${namespace}/pods/${name}`));
    } catch (error) {
      if (error instanceof KubeError && error.status === 404) return undefined;
      throw error;
    }
  }

  async #call<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await this.#calls.run(call);
    } catch (error) {
      if (!(error instanceof KubeError) || error.status === 404) throw error;
      if (error.status === 401 || error.status === 403) {
        this.#o.log.error(
          { error: error.message },
          'the API server does not let the store look at pods; see the RBAC of the chart',
        );
        throw storeError('KubernetesForbidden', undefined, { cause: error });
      }
      this.#o.log.warn({ error: error.message }, 'the API server could not be asked about a pod');
      throw storeError('KubernetesUnavailable', undefined, { cause: error });
    }
  }
}
