import { encodeFields } from '../../api/fields.ts';
import type { CredentialRecord } from '../../api/protocol.ts';
import { canonicalJson } from '../../lib/auditChain.ts';
import { Backoff } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import type { WantedMaterial } from '../decide/credentialVerdict.ts';
import type { Failure, Sent } from '../decide/held.ts';
import type { Plan } from '../decide/plan.ts';
import type { Mirror } from './mirror.ts';
import { type StoreClient, StoreRefusal } from './storeClient.ts';

const CONCURRENCY = 8;
const RETRY_FIRST_MS = 500;
const RETRY_MOST_MS = 30_000;

export interface ApplierOptions {
  client: StoreClient;
  mirror: Mirror;
  clock: Clock;
  log: Logger;
  /** Asked before each change. */
  permitted?: () => boolean;
}

/** One change of one object. */
interface Task {
  /** `Kind namespace/name` */
  id: string;
  /** What is asked for: if that changes, it is tried at once. */
  what: string;
  run(): Promise<void>;
}

interface Retry extends Failure {
  what: string;
  backoff: Backoff;
  /** Monotonic. */
  notBeforeMs: number;
}

/** Tells the store what a plan says, and remembers what it took and what it refused. */
export class Applier {
  readonly #o: ApplierOptions;
  readonly #retries = new Map<string, Retry>();
  /** By key of the Credential. */
  readonly sent = new Map<string, Sent>();

  constructor(options: ApplierOptions) {
    this.#o = options;
  }

  /** `Kind namespace/name` → why the store refused it. */
  get failures(): ReadonlyMap<string, Failure> {
    return this.#retries;
  }

  /** Milliseconds until something that was refused is due again. */
  get retryInMs(): number | undefined {
    if (this.#retries.size === 0) return undefined;
    const nextMs = Math.min(...[...this.#retries.values()].map(({ notBeforeMs }) => notBeforeMs));
    return Math.max(0, nextMs - this.#o.clock.monotonicMs());
  }

  /** Withdraws before it grants, and tells of Credentials before the Integrations that need them. @throws StoreUnreachable, IdentityLost */
  async apply(plan: Plan): Promise<void> {
    const stages = [this.#withdrawals(plan), this.#credentials(plan), this.#integrations(plan)];
    const wanted = new Set(stages.flat().map(({ id }) => id));
    for (const id of this.#retries.keys()) if (!wanted.has(id)) this.#retries.delete(id);
    for (const stage of stages) await this.#runAll(stage);
  }

  #withdrawals({ deleteCredentials, deleteIntegrations }: Plan): Task[] {
    const { client, mirror } = this.#o;
    return [
      ...deleteIntegrations.map((key) => ({
        id: `Integration ${key}`,
        what: 'delete',
        run: async () => {
          await client.deleteIntegration(key);
          mirror.integrations.delete(key);
        },
      })),
      ...deleteCredentials.map((key) => ({
        id: `Credential ${key}`,
        what: 'delete',
        run: async () => {
          await client.deleteCredential(key);
          mirror.credentials.delete(key);
          this.sent.delete(key);
        },
      })),
    ];
  }

  #credentials({ dropMaterial, putCredentials, putMaterial }: Plan): Task[] {
    const drops = new Map(dropMaterial.map(({ key, record }) => [key, record]));
    const records = new Map(putCredentials.map(({ key, record }) => [key, record]));
    const materials = new Map(putMaterial.map((material) => [material.key, material]));
    const keys = new Set([...drops.keys(), ...records.keys(), ...materials.keys()]);
    return [...keys].map((key) => {
      const drop = drops.get(key);
      const record = drop ?? records.get(key);
      const material = materials.get(key);
      const what = [drop !== undefined, record && canonicalJson(record), material?.digest].join(' ');
      return {
        id: `Credential ${key}`,
        what,
        run: async () => {
          if (drop !== undefined) await this.#drop(key);
          if (record !== undefined) await this.#put(key, record);
          if (material !== undefined) await this.#putMaterial(key, material);
        },
      };
    });
  }

  #integrations({ putIntegrations }: Plan): Task[] {
    const { client, mirror } = this.#o;
    return putIntegrations.map(({ key, record }) => ({
      id: `Integration ${key}`,
      what: canonicalJson(record),
      run: async () => {
        await client.putIntegration(key, record);
        mirror.integrations.set(key, record);
      },
    }));
  }

  async #put(key: string, record: CredentialRecord): Promise<void> {
    this.#o.mirror.setCredential(await this.#o.client.putCredential(key, record), record);
  }

  /** Only a whole Credential can be removed with its material: it comes back without. */
  async #drop(key: string): Promise<void> {
    await this.#o.client.deleteCredential(key);
    this.#o.mirror.credentials.delete(key);
    this.sent.delete(key);
  }

  async #putMaterial(key: string, { digest, fields, secret }: WantedMaterial): Promise<void> {
    const entries: [string, Buffer][] = [];
    for (const [field, secretKey] of fields) {
      const bytes = secret.material.bytes(secretKey);
      if (bytes === undefined) return; // The Secret has changed meanwhile; the next reconcile has the new one.
      entries.push([field, bytes]);
    }
    const stored = await this.#o.client.putMaterial(key, encodeFields(entries));
    this.#o.mirror.setCredential(stored);
    this.sent.set(key, { digest, version: stored.version });
  }

  async #runAll(tasks: readonly Task[]): Promise<void> {
    const waiting = [...tasks].reverse();
    const worker = async () => {
      for (let task = waiting.pop(); task !== undefined; task = waiting.pop()) await this.#run(task);
    };
    try {
      await Promise.all(Array.from({ length: Math.min(CONCURRENCY, tasks.length) }, worker));
    } finally {
      waiting.length = 0;
    }
  }

  async #run({ id, run, what }: Task): Promise<void> {
    const { clock, log } = this.#o;
    const last = this.#retries.get(id);
    const again = last?.what === what;
    if (again && last.notBeforeMs > clock.monotonicMs()) return;
    // One that leads no more must not undo what the next leader does.
    if (this.#o.permitted?.() === false) return;
    try {
      await run();
      this.#retries.delete(id);
    } catch (error) {
      if (!(error instanceof StoreRefusal)) throw error;
      const { code, message } = error;
      const backoff = again ? last.backoff : new Backoff({ firstMs: RETRY_FIRST_MS, limitMs: RETRY_MOST_MS });
      this.#retries.set(id, { what, code, message, backoff, notBeforeMs: clock.monotonicMs() + backoff.nextMs() });
      log.warn({ object: id, code, error: message }, 'the store did not take a change');
    }
  }
}
