import { INJECT_LABEL } from '../../api/pods.ts';
import type { SessionsAnswer } from '../../api/protocol.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorCode, errorText } from '../../lib/errors.ts';
import { type KubeClient, KubeError } from '../../lib/kube/client.ts';
import { Reflector, type ReflectorState } from '../../lib/kube/reflector.ts';
import type { Logger } from '../../lib/log.ts';
import { KeyedQueue } from '../act/kube/keyedQueue.ts';
import type { StoreClient } from '../act/storeClient.ts';
import { type AgentPod, agentPodOf, sameSubject } from './agentPod.ts';

const CONCURRENCY = 8;
/** A pod that joins at the very moment of a change is told once more. */
const ONCE_MORE_MS = 5_000;
const COMPARE_AGAIN = { firstMs: 1_000, limitMs: 30_000 };
/** The safety net. */
const COMPARE_MS = 10 * 60_000;
const GONE = 404;

export interface PodSessionsOptions {
  kube: KubeClient;
  store: StoreClient;
  clock: Clock;
  log: Logger;
  permitted: () => boolean;
  onLost: (error: Error) => void;
}

/** Sessions end with their pods, and follow their labels: what happens to agent pods is told to the store. */
export class PodSessions {
  readonly #o: PodSessionsOptions;
  readonly #reflector: Reflector<AgentPod>;
  /** By UID. */
  readonly #pods = new Map<string, AgentPod>();
  readonly #queue: KeyedQueue;
  #compare: NodeJS.Timeout | undefined;
  #comparing = false;
  #compareAgain = false;
  #connected = false;
  #closed = false;
  #failures = 0;

  constructor(options: PodSessionsOptions) {
    this.#o = options;
    this.#reflector = new Reflector<AgentPod>({
      client: options.kube,
      path: '/api/v1/pods',
      query: { labelSelector: `${INJECT_LABEL}=true` },
      clock: options.clock,
      log: options.log,
      keep: (object) => agentPodOf(object),
      onChange: ({ after, before }) => this.#changed(before, after),
    });
    this.#queue = new KeyedQueue({
      concurrency: CONCURRENCY,
      log: options.log,
      what: 'telling the store of a pod',
      work: (uid) => this.#tell(uid),
    });
  }

  get state(): ReflectorState {
    return this.#reflector.state;
  }

  get podCount(): number {
    return this.#pods.size;
  }

  get depth(): number {
    return this.#queue.depth;
  }

  async start(): Promise<void> {
    this.#reflector.start();
    await this.#reflector.synced();
    this.compare();
  }

  storeConnected(): void {
    this.#connected = true;
    this.#queue.flush();
    this.compare();
  }

  storeAway(): void {
    this.#connected = false;
  }

  /** Brings the store's sessions in line with the pods that there are. */
  compare(): void {
    if (this.#closed || !this.#connected || !this.#reflector.state.synced) return;
    if (this.#comparing) {
      this.#compareAgain = true;
      return;
    }
    this.#comparing = true;
    clearTimeout(this.#compare);
    this.#compareAll()
      .then(
        () => {
          this.#failures = 0;
          this.#schedule(COMPARE_MS);
        },
        (error: unknown) => {
          if (this.#closed) return;
          if (errorCode(error) === 'IdentityLost') this.#o.onLost(error as Error);
          else
            this.#o.log.warn(
              { error: errorText(error) },
              'sessions could not be compared with pods; it is tried again',
            );
          this.#schedule(Math.min(COMPARE_AGAIN.limitMs, COMPARE_AGAIN.firstMs * 2 ** this.#failures++));
        },
      )
      .finally(() => {
        this.#comparing = false;
        if (this.#compareAgain) this.compare();
      });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#compare);
    this.#reflector.close();
    this.#queue.close();
  }

  #schedule(ms: number): void {
    clearTimeout(this.#compare);
    this.#compare = setTimeout(() => this.compare(), ms);
  }

  async #compareAll(): Promise<void> {
    this.#compareAgain = false;
    const { sessions } = await this.#o.store.sessions();
    const unknown: SessionsAnswer['sessions'] = [];
    for (const session of sessions) {
      if (session.pod === undefined) continue;
      const pod = this.#pods.get(session.pod.uid);
      if (pod === undefined) unknown.push(session);
      else if (pod.over || !sameSubject(pod.subject, session)) this.#queue.add(pod.uid);
    }
    // The list may know a pod that the watch has not told of yet: it is asked for before its session ends.
    for (const session of unknown) {
      if (await this.#isAlive(session)) continue;
      this.#o.log.info({ session: session.id, pod: session.pod }, 'a session outlived its pod');
      this.#queue.add(session.pod!.uid);
    }
  }

  async #isAlive({ namespace, pod }: SessionsAnswer['sessions'][number]): Promise<boolean> {
    if (this.#pods.has(pod!.uid)) return true;
    try {
      const found = await this.#o.kube.get<Parameters<typeof agentPodOf>[0]>(
        `/api/v1/namespaces/${namespace}/pods/${pod!.name}`,
      );
      const agent = agentPodOf(found);
      return agent?.uid === pod!.uid && !agent.over;
    } catch (error) {
      if (error instanceof KubeError && error.status === GONE) return false;
      throw error;
    }
  }

  #changed(before: AgentPod | undefined, after: AgentPod | undefined): void {
    if (after === undefined) {
      this.#pods.delete(before!.uid);
      this.#queue.add(before!.uid);
      return;
    }
    this.#pods.set(after.uid, after);
    // A pod that is new has no session yet, or one that the comparison looks at.
    if (before === undefined && !after.over) return;
    if (before?.over !== after.over || !sameSubject(before.subject, after.subject)) this.#queue.add(after.uid);
  }

  readonly #told = new Map<string, AgentPod | undefined>();

  async #tell(uid: string): Promise<void> {
    if (!this.#o.permitted()) return;
    const pod = this.#pods.get(uid);
    try {
      if (pod === undefined || pod.over) await this.#o.store.endSessions(uid);
      else await this.#o.store.changeSessions(uid, pod.subject);
    } catch (error) {
      if (errorCode(error) === 'IdentityLost') {
        this.#o.onLost(error as Error);
        return; // The comparison after the next connection finds it.
      }
      throw error;
    }
    const second = this.#told.has(uid) && this.#told.get(uid) === pod;
    this.#told.delete(uid);
    if (second || this.#closed) return;
    this.#told.set(uid, pod);
    this.#queue.addAfter(uid, ONCE_MORE_MS);
  }
}
