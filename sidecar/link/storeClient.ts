import type { SecureContext } from 'node:tls';
import { decodeFields, MATERIAL_CONTENT_TYPE } from '../../api/fields.ts';
import {
  type JoinAnswer,
  type JoinRequest,
  LEASE_HEADERS,
  type LeaseRequest,
  type RenewRequest,
  type UsageReport,
} from '../../api/protocol.ts';
import { Material } from '../../lib/material.ts';
import type { IssuedLease } from '../grants/lease.ts';
import { Connections } from './connections.ts';
import type { StoreAnswer } from './storeAnswer.ts';
import { StoreFailure, UNREACHABLE } from './storeFailure.ts';
import { StoreReplicas } from './storeReplicas.ts';

const REQUEST_TIMEOUT_MS = 5_000;

/** The requests of api/protocol.ts that a sidecar makes. Each fails with a StoreFailure. */
export class StoreClient {
  readonly #replicas: StoreReplicas;
  readonly #connections: Connections;

  constructor(replicas: StoreReplicas, context: SecureContext) {
    this.#replicas = replicas;
    this.#connections = new Connections(replicas, context);
  }

  /** Goes on under another identity. */
  use(context: SecureContext): void {
    this.#connections.use(context);
  }

  async join(request: JoinRequest): Promise<JoinAnswer> {
    return jsonOf(await this.#post('/v1/join', request));
  }

  async renew(request: RenewRequest): Promise<JoinAnswer> {
    return jsonOf(await this.#postAnywhere('/v1/renew', request));
  }

  /** The body goes into a Material without ever being a string, and is overwritten. */
  async lease(request: LeaseRequest): Promise<IssuedLease> {
    const { fields, body } = await this.#postAnywhere('/v1/leases', request);
    const material = new Material();
    try {
      const id = fields.get(LEASE_HEADERS.id);
      const version = Number(fields.get(LEASE_HEADERS.version));
      const expiresInSeconds = Number(fields.get(LEASE_HEADERS.expiresInSeconds));
      if (fields.get('content-type') !== MATERIAL_CONTENT_TYPE || !id || !(version > 0) || !(expiresInSeconds > 0))
        throw new RangeError('a field is missing');
      for (const [name, bytes] of decodeFields(body)) material.set(name, bytes);
      const single = fields.get(LEASE_HEADERS.single) === '1';
      return { id, version, expiresInSeconds, single, material };
    } catch (error) {
      material.destroy();
      throw new StoreFailure(UNREACHABLE, 'the lease that the store sent cannot be read', { cause: error });
    } finally {
      body.fill(0);
    }
  }

  async report(report: UsageReport): Promise<void> {
    await this.#post('/v1/usage', report);
  }

  async endSession(): Promise<void> {
    await this.#connections.send({ method: 'DELETE', path: '/v1/session' }, REQUEST_TIMEOUT_MS);
  }

  close(): void {
    this.#connections.close();
  }

  /** What may be done twice: where one replica fails, the next is asked at once. */
  async #postAnywhere(path: string, json: unknown): Promise<StoreAnswer> {
    for (let left = this.#replicas.count - 1; ; left -= 1) {
      try {
        return await this.#post(path, json);
      } catch (error) {
        const { code } = error as StoreFailure;
        if (left === 0 || (code !== UNREACHABLE && !StoreReplicas.isUnable(code))) throw error;
      }
    }
  }

  #post(path: string, json: unknown): Promise<StoreAnswer> {
    return this.#connections.send({ method: 'POST', path, json }, REQUEST_TIMEOUT_MS);
  }
}

function jsonOf<T>({ body }: StoreAnswer): T {
  try {
    return JSON.parse(body.toString());
  } catch (error) {
    throw new StoreFailure(UNREACHABLE, 'the answer of the store is no JSON', { cause: error });
  }
}
