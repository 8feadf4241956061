import type { SecureContext } from 'node:tls';
import { AnswerBuffer, type StoreAnswer } from './storeAnswer.ts';
import { StoreConnection, type StoreRequest } from './storeConnection.ts';
import { connectionFailure, StoreFailure, UNREACHABLE } from './storeFailure.ts';
import { StoreReplicas } from './storeReplicas.ts';

const CONNECTION_LIMIT = 4;
const QUEUE_LIMIT = 256;

interface Queued {
  request: StoreRequest;
  resolve(answer: StoreAnswer): void;
  reject(error: StoreFailure): void;
  timer: NodeJS.Timeout;
  connection?: StoreConnection;
}

/** The connections that requests to the store share; each carries one at a time, the rest wait. */
export class Connections {
  readonly #replicas: StoreReplicas;
  #context: SecureContext;
  readonly #open = new Set<StoreConnection>();
  readonly #queue: Queued[] = [];
  #closed = false;

  constructor(replicas: StoreReplicas, context: SecureContext) {
    this.#replicas = replicas;
    this.#context = context;
  }

  /** Under another identity from now on: free connections are closed, the others after their request. */
  use(context: SecureContext): void {
    this.#context = context;
    const old = [...this.#open];
    this.#open.clear();
    for (const connection of old) if (connection.free) connection.destroy();
  }

  /** @throws StoreFailure */
  send(request: StoreRequest, timeoutMs: number): Promise<StoreAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#closed || this.#queue.length >= QUEUE_LIMIT) {
        const why = this.#closed
          ? 'the link to the store is closed'
          : `${QUEUE_LIMIT} requests to the store wait already`;
        reject(new StoreFailure(UNREACHABLE, why));
        return;
      }
      const queued: Queued = { request, resolve, reject, timer: setTimeout(() => this.#late(queued), timeoutMs) };
      this.#queue.push(queued);
      this.#next();
    });
  }

  /** What is under way or waits fails, and whatever comes later. */
  close(): void {
    this.#closed = true;
    for (const { reject, timer } of this.#queue.splice(0)) {
      clearTimeout(timer);
      reject(new StoreFailure(UNREACHABLE, 'the link to the store is closed'));
    }
    for (const connection of this.#open) connection.destroy();
  }

  #next(): void {
    while (this.#queue.length > 0) {
      const connection = this.#free();
      if (connection === undefined) return;
      this.#run(connection, this.#queue.shift()!);
    }
  }

  #free(): StoreConnection | undefined {
    const { current } = this.#replicas;
    for (const connection of this.#open) {
      if (!connection.free) continue;
      if (connection.address === current) return connection;
      connection.destroy(); // To a replica that failed.
      this.#open.delete(connection);
    }
    if (this.#open.size >= CONNECTION_LIMIT) return undefined;
    const connection: StoreConnection = new StoreConnection(current, this.#context, () => {
      this.#open.delete(connection);
    });
    this.#open.add(connection);
    return connection;
  }

  #run(connection: StoreConnection, queued: Queued): void {
    const answer = new AnswerBuffer();
    queued.connection = connection;
    connection.exchange(queued.request, {
      head: (head) => answer.head(head),
      piece: (piece) => answer.piece(piece),
      end: () => {
        clearTimeout(queued.timer);
        // Made under an identity that was replaced meanwhile.
        if (!this.#open.has(connection)) connection.destroy();
        try {
          queued.resolve(answer.take());
        } catch (error) {
          const failure = error as StoreFailure;
          if (StoreReplicas.isUnable(failure.code)) this.#replicas.failed(connection.address);
          queued.reject(failure);
        }
        this.#next();
      },
      failed: (error) => {
        clearTimeout(queued.timer);
        answer.discard();
        this.#replicas.failed(connection.address);
        queued.reject(connectionFailure(error));
        this.#next();
      },
    });
  }

  #late(queued: Queued): void {
    const error = new StoreFailure(UNREACHABLE, 'the store did not answer in time');
    if (queued.connection !== undefined) {
      queued.connection.destroy(error);
      return;
    }
    this.#queue.splice(this.#queue.indexOf(queued), 1);
    queued.reject(error);
  }
}
