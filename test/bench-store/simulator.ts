/**
 * Many sidecars in one process, for the bench of the store. Each has a session, a certificate and TLS connections of its own, and runs the
 * sidecar's own code for the link to the store (sidecar/link). They share one private key, and there is no proxy behind them: no agents, no
 * requests, no usage reports, no renewals, and nobody asks anew for a lease because a version changed.
 */
import { generateKeyPairSync } from 'node:crypto';
import { Agent, request } from 'node:http';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { JoinTokenAnswer } from '../../api/admin.ts';
import type { SessionEvent } from '../../api/protocol.ts';
import type { Logger } from '../../lib/log.ts';
import { TLS_DEFAULTS } from '../../lib/tls.ts';
import { EventStream } from '../../sidecar/link/eventStream.ts';
import { StoreClient } from '../../sidecar/link/storeClient.ts';
import { StoreFailure } from '../../sidecar/link/storeFailure.ts';
import { StoreReplicas } from '../../sidecar/link/storeReplicas.ts';
import { namespaceOf, nowMs, SHARED_CREDENTIAL, type SimulatorAnswer, type SimulatorRequest } from './messages.ts';

const nothing = () => {};
const quiet: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const JOINS_AT_ONCE = 32;
/** What one that gets no answer waits before it asks again: a request of its agent that waits is tried sooner, one that comes again later. */
const AGAIN_MS = 1_000;
const LAST_LEASES_MS = 20_000;

class Sidecar {
  readonly replicas: StoreReplicas;
  readonly context: SecureContext;
  stream: EventStream | undefined;
  client: StoreClient | undefined;
  /** Snapshots and resumptions so far. */
  openings = 0;
  arrivedAtMs: number | undefined;
  watched: SessionEvent['type'] | undefined;

  constructor(storeUrl: string, context: SecureContext) {
    this.replicas = StoreReplicas.of(storeUrl);
    this.context = context;
  }

  listen(): void {
    this.stream = new EventStream({
      replicas: this.replicas,
      context: () => this.context,
      event: (event) => this.#take(event),
      log: quiet,
      revoked: (reason) => {
        throw new Error(`a session was ended: ${reason}`);
      },
    });
  }

  async lease(): Promise<void> {
    this.client ??= new StoreClient(this.replicas, this.context);
    const { material } = await this.client.lease({ credential: SHARED_CREDENTIAL });
    material.destroy();
  }

  close(): void {
    this.stream?.close();
    this.client?.close();
  }

  #take({ type }: SessionEvent): void {
    if (type === 'snapshot' || type === 'resumed') this.openings += 1;
    if (type === this.watched) this.arrivedAtMs ??= nowMs();
  }
}

const sidecars: Sidecar[] = [];
const steady = {
  latencies: [] as number[],
  failures: new Map<string, number>(),
  timers: [] as NodeJS.Timeout[],
  waiting: 0,
};

async function answer(message: SimulatorRequest): Promise<SimulatorAnswer> {
  switch (message.ask) {
    case 'join': {
      const began = performance.now();
      await join(message);
      return { seconds: (performance.now() - began) / 1000, done: sidecars.length };
    }
    case 'listen': {
      const began = performance.now();
      for (const sidecar of sidecars) sidecar.listen();
      await until(() => sidecars.every(({ openings }) => openings > 0), 120_000);
      return {
        seconds: (performance.now() - began) / 1000,
        done: sidecars.filter(({ openings }) => openings > 0).length,
      };
    }
    case 'watch':
      for (const sidecar of sidecars) {
        sidecar.watched = message.type;
        sidecar.arrivedAtMs = undefined;
      }
      return {};
    case 'arrivals':
      await until(() => sidecars.every(({ arrivedAtMs }) => arrivedAtMs !== undefined), message.limitMs);
      return { atMs: sidecars.flatMap(({ arrivedAtMs }) => arrivedAtMs ?? []) };
    case 'leases':
      return leases(message.sidecars, message.seconds);
    case 'steady':
      for (const sidecar of sidecars) sidecar.openings = 0;
      startSteady(message.sidecars);
      return {};
    case 'reopened': {
      const began = performance.now();
      await until(() => sidecars.every(({ openings }) => openings > 0), message.limitMs);
      const seconds = (performance.now() - began) / 1000;
      for (const timer of steady.timers.splice(0)) clearInterval(timer);
      await until(() => steady.waiting === 0, LAST_LEASES_MS);
      return {
        seconds,
        waiting: steady.waiting,
        done: sidecars.filter(({ openings }) => openings > 0).length,
        latenciesMs: steady.latencies.splice(0),
        failures: Object.fromEntries(steady.failures),
      };
    }
    case 'close':
      for (const sidecar of sidecars.splice(0)) sidecar.close();
      return {};
  }
}

async function join(message: SimulatorRequest & { ask: 'join' }): Promise<void> {
  const { adminSocket, count, first, storeUrl, trustBundlePem } = message;
  const { publicKey, privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const stranger = new StoreClient(
    StoreReplicas.of(storeUrl),
    createSecureContext({ ...TLS_DEFAULTS, ca: trustBundlePem }),
  );
  const agent = new Agent({ keepAlive: true, maxSockets: JOINS_AT_ONCE });
  let next = first;
  const worker = async () => {
    for (let number = next++; number < first + count; number = next++) {
      const joinToken = await joinTokenFor(agent, adminSocket, number);
      const joined = await patiently(() => stranger.join({ joinToken, publicKeyPem: publicKey }));
      const context = createSecureContext({
        ...TLS_DEFAULTS,
        ca: joined.trustBundlePem,
        cert: joined.certificatePem,
        key: privateKey,
      });
      sidecars.push(new Sidecar(storeUrl, context));
    }
  };
  await Promise.all(Array.from({ length: JOINS_AT_ONCE }, worker));
  stranger.close();
  agent.destroy();
}

function joinTokenFor(agent: Agent, socketPath: string, number: number): Promise<string> {
  const session = {
    namespace: namespaceOf(number),
    serviceAccount: 'agent',
    role: 'coder',
    tags: ['bench'],
    requester: `bench-${number}`,
  };
  return new Promise((resolve, reject) => {
    const body = JSON.stringify({ kind: 'session', session });
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    request({ agent, socketPath, method: 'POST', path: '/v1/admin/join-tokens', headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece) => {
        text += piece;
      });
      response.on('end', () => {
        if (response.statusCode === 200) resolve((JSON.parse(text) as JoinTokenAnswer).joinToken);
        else reject(new Error(`a join token was answered ${response.statusCode} ${text}`));
      });
    })
      .on('error', reject)
      .end(body);
  });
}

/** Comes back when the store says so. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof StoreFailure) || error.retryAfterSeconds === undefined) throw error;
      await pause(error.retryAfterSeconds * 1000);
    }
  }
}

async function leases(count: number, seconds: number): Promise<SimulatorAnswer> {
  const latenciesMs: number[] = [];
  const failures: Record<string, number> = {};
  // Connections are made before it counts.
  for (let i = 0; i < sidecars.length; i += count)
    await Promise.all(sidecars.slice(i, i + count).map((sidecar) => sidecar.lease()));
  const endMs = performance.now() + seconds * 1000;
  const began = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: count }, async () => {
      while (performance.now() < endMs) {
        const sidecar = sidecars[next++ % sidecars.length]!;
        const askedMs = performance.now();
        try {
          await sidecar.lease();
          latenciesMs.push(performance.now() - askedMs);
        } catch (error) {
          const code = codeOf(error);
          failures[code] = (failures[code] ?? 0) + 1;
          await pause(((error as StoreFailure).retryAfterSeconds ?? 0.1) * 1000);
        }
      }
    }),
  );
  return { latenciesMs, failures, seconds: (performance.now() - began) / 1000 };
}

/** Each asks for a lease once a second, again and again until it has it, as the real one does; it counts from when it was first asked for. */
function startSteady(count: number): void {
  steady.latencies = [];
  steady.failures.clear();
  for (const sidecar of sidecars.slice(0, count)) {
    let asking = false;
    const ask = async () => {
      if (asking) return;
      asking = true;
      steady.waiting += 1;
      const askedMs = performance.now();
      while (!(await leased(sidecar))) await pause(AGAIN_MS * (0.5 + Math.random()));
      steady.latencies.push(performance.now() - askedMs);
      steady.waiting -= 1;
      asking = false;
    };
    steady.timers.push(setInterval(ask, 1_000));
  }
}

async function leased(sidecar: Sidecar): Promise<boolean> {
  try {
    await sidecar.lease();
    return true;
  } catch (error) {
    const code = codeOf(error);
    steady.failures.set(code, (steady.failures.get(code) ?? 0) + 1);
    return false;
  }
}

function codeOf(error: unknown): string {
  return error instanceof StoreFailure ? error.code : String(error);
}

async function until(condition: () => boolean, limitMs: number): Promise<void> {
  const endMs = performance.now() + limitMs;
  while (!condition() && performance.now() < endMs) await pause(20);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

process.on('message', (message: SimulatorRequest) => {
  answer(message).then(
    (reply) => process.send!(reply),
    (error: unknown) =>
      process.send!({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
