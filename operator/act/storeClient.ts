import { Agent, type Dispatcher, request } from 'undici';
import { MATERIAL_CONTENT_TYPE } from '../../api/fields.ts';
import {
  type CredentialRecord,
  type IntegrationRecord,
  type JoinAnswer,
  type JoinProof,
  type JoinRequest,
  type ObjectsAnswer,
  type RenewRequest,
  type SessionSubject,
  type SessionsAnswer,
  STORE_DNS_NAME,
  type StoredCredential,
  type StoreError,
} from '../../api/protocol.ts';
import { CodedError, errorCode, errorText } from '../../lib/errors.ts';
import { fence } from '../../lib/fence.ts';
import { TLS_DEFAULTS } from '../../lib/tls.ts';
import { generateP256 } from '../../lib/x509.ts';
import { operatorError } from '../errors.ts';

const CONNECTIONS = 8;
const CONNECT_MS = 5_000;
const ANSWER_MS = 15_000;
/** The store's codes that end an identity. */
const LOST = new Set(['NotAuthenticated', 'IdentityRevoked', 'NotPermitted']);

/** Codes after which another replica is asked. */
const UNABLE = new Set(['StoreUnreachable', 'StorageFailed', 'StoreSealed']);

export interface StoreAddress {
  /** Several with commas between. */
  storeUrl: string;
  trustBundlePem: string;
}

/** An answer of the store that is no success; `code` is the store's. */
export class StoreRefusal extends CodedError {}

/** The operator's side of the protocol (api/protocol.ts), over mTLS with a P-256 key that never leaves the process. */
export class StoreClient {
  readonly #replicas: Replicas;
  readonly #refusal: (() => Error | undefined) | undefined;
  #agent: Agent | undefined;
  #dispatcher: Dispatcher | undefined;
  #renewInSeconds = 0;

  /** One that has not joined yet cannot reach the store. `refusal`: what speaks against a change, asked when it is about to be sent. */
  constructor(storeUrl: string, refusal?: () => Error | undefined) {
    this.#replicas = new Replicas(storeUrl);
    this.#refusal = refusal;
  }

  /** @throws JoinRefused, StoreUnreachable */
  static async join(store: StoreAddress, proof: JoinProof): Promise<StoreClient> {
    const client = new StoreClient(store.storeUrl);
    await client.join(store.trustBundlePem, proof);
    return client;
  }

  /** How long the certificate in use should be kept. */
  get renewInSeconds(): number {
    return this.#renewInSeconds;
  }

  /** A new key and certificate; requests in flight finish under the old ones, the event stream ends. @throws IdentityLost, StoreUnreachable, StoreRefusal */
  async renew(): Promise<void> {
    const identity = await obtainIdentity((publicKeyPem) =>
      this.#call<JoinAnswer>('POST', '/v1/renew', json({ publicKeyPem } satisfies RenewRequest)),
    );
    this.#use(identity);
  }

  /** An identity, in the place of the one that there may be. @throws JoinRefused, StoreUnreachable */
  async join(trustBundlePem: string, proof: JoinProof): Promise<void> {
    this.#use(await joinAs(this.#replicas, trustBundlePem, proof));
  }

  /** Of every pod that the store knows. */
  sessions(): Promise<SessionsAnswer> {
    return this.#call('GET', '/v1/sessions');
  }

  /** What a pod may use follows its labels, also while it runs. */
  changeSessions(podUid: string, subject: SessionSubject): Promise<void> {
    return this.#call('PUT', `/v1/sessions?pod=${encodeURIComponent(podUid)}`, json(subject));
  }

  endSessions(podUid: string): Promise<void> {
    return this.#call('DELETE', `/v1/sessions?pod=${encodeURIComponent(podUid)}`);
  }

  objects(): Promise<ObjectsAnswer> {
    return this.#call('GET', '/v1/objects');
  }

  putCredential(key: string, record: CredentialRecord): Promise<StoredCredential> {
    return this.#call('PUT', `/v1/credentials/${key}`, json(record));
  }

  deleteCredential(key: string): Promise<void> {
    return this.#call('DELETE', `/v1/credentials/${key}`);
  }

  /** Sends a material frame and overwrites it. */
  async putMaterial(key: string, frame: Buffer): Promise<StoredCredential> {
    try {
      return await this.#call('PUT', `/v1/credentials/${key}/material`, { type: MATERIAL_CONTENT_TYPE, bytes: frame });
    } finally {
      frame.fill(0);
    }
  }

  putIntegration(key: string, record: IntegrationRecord): Promise<void> {
    return this.#call('PUT', `/v1/integrations/${key}`, json(record));
  }

  deleteIntegration(key: string): Promise<void> {
    return this.#call('DELETE', `/v1/integrations/${key}`);
  }

  /** The body of the event stream. @throws IdentityLost, StoreUnreachable, StoreRefusal */
  async events(signal: AbortSignal): Promise<AsyncIterable<Buffer>> {
    const path = '/v1/objects/events';
    const url = this.#replicas.current;
    try {
      const answer = await request(new URL(path, url), { dispatcher: this.#joined(), signal, bodyTimeout: 0 });
      if (answer.statusCode !== 200) throw await refusalOf(answer);
      return answer.body;
    } catch (error) {
      throw this.#replicas.told(url, asOurs(error));
    }
  }

  async close(): Promise<void> {
    await this.#agent?.destroy();
  }

  #use(identity: Identity): void {
    const before = this.#agent;
    this.#agent = agentOf(identity);
    this.#dispatcher = this.#refusal === undefined ? this.#agent : this.#agent.compose(fence(this.#refusal));
    this.#renewInSeconds = identity.answer.renewInSeconds;
    setTimeout(() => before?.destroy().catch(() => {}), ANSWER_MS).unref();
  }

  async #call<T>(method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, body?: Body): Promise<T> {
    return call<T>(this.#joined(), this.#replicas, method, path, body);
  }

  #joined(): Dispatcher {
    if (this.#dispatcher === undefined) throw operatorError('StoreUnreachable', 'not joined yet');
    return this.#dispatcher;
  }
}

/** The replicas of the store, of which one is talked to until it fails. */
class Replicas {
  readonly #urls: readonly string[];
  #at = 0;

  constructor(storeUrls: string) {
    this.#urls = storeUrls.split(',');
  }

  get current(): string {
    return this.#urls[this.#at]!;
  }

  /** Turns to the next replica if the error says that this one cannot do its work; gives the error back. */
  told(url: string, error: Error): Error {
    const code = errorCode(error) ?? '';
    if (UNABLE.has(code) && url === this.current) this.#at = (this.#at + 1) % this.#urls.length;
    return error;
  }
}

interface Identity {
  answer: JoinAnswer;
  privateKeyPem: string;
}

interface Body {
  type: string;
  bytes: Buffer | string;
}

async function joinAs(replicas: Replicas, trustBundlePem: string, proof: JoinProof): Promise<Identity> {
  const stranger = new Agent({
    headersTimeout: ANSWER_MS,
    bodyTimeout: ANSWER_MS,
    connect: connectOptions(trustBundlePem),
  });
  try {
    return await obtainIdentity((publicKeyPem) =>
      call<JoinAnswer>(stranger, replicas, 'POST', '/v1/join', json({ ...proof, publicKeyPem } satisfies JoinRequest)),
    );
  } catch (error) {
    const refusal = refusalIn(error);
    if (refusal !== undefined) throw operatorError('JoinRefused', refusal.message, { cause: refusal });
    throw error;
  } finally {
    await stranger.close();
  }
}

/** A store that knows us not (yet) says so in one of the codes that end an identity. */
function refusalIn(error: unknown): StoreRefusal | undefined {
  if (error instanceof StoreRefusal) return error;
  const { cause } = error as Error;
  return errorCode(error) === 'IdentityLost' && cause instanceof StoreRefusal ? cause : undefined;
}

async function obtainIdentity(ask: (publicKeyPem: string) => Promise<JoinAnswer>): Promise<Identity> {
  const { privateKey, publicKey } = generateP256();
  const answer = await ask(publicKey.export({ type: 'spki', format: 'pem' }).toString());
  return { answer, privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

function agentOf({ answer, privateKeyPem }: Identity): Agent {
  return new Agent({
    connections: CONNECTIONS,
    headersTimeout: ANSWER_MS,
    bodyTimeout: ANSWER_MS,
    connect: { ...connectOptions(answer.trustBundlePem), key: privateKeyPem, cert: answer.certificatePem },
  });
}

function connectOptions(trustBundlePem: string) {
  return { ...TLS_DEFAULTS, ca: trustBundlePem, servername: STORE_DNS_NAME, timeout: CONNECT_MS };
}

function json(value: object): Body {
  return { type: 'application/json', bytes: JSON.stringify(value) };
}

async function call<T>(
  dispatcher: Dispatcher,
  replicas: Replicas,
  method: 'GET' | 'PUT' | 'POST' | 'DELETE',
  path: string,
  body?: Body,
): Promise<T> {
  const url = replicas.current;
  try {
    const answer = await request(new URL(path, url), {
      dispatcher,
      method,
      ...(body !== undefined && { body: body.bytes, headers: { 'content-type': body.type } }),
    });
    if (answer.statusCode >= 300) throw await refusalOf(answer);
    const text = await answer.body.text();
    return (text === '' ? undefined : JSON.parse(text)) as T;
  } catch (error) {
    throw replicas.told(url, asOurs(error));
  }
}

async function refusalOf(answer: Dispatcher.ResponseData): Promise<Error> {
  let said: Partial<StoreError> = {};
  try {
    said = JSON.parse(await answer.body.text()) as StoreError;
  } catch {
    // Not the store's own words: the status has to do.
  }
  const { code = `Status${answer.statusCode}`, message = `the store answered ${answer.statusCode}` } = said;
  return new StoreRefusal(code, message);
}

function asOurs(error: unknown): Error {
  if (error instanceof StoreRefusal)
    return LOST.has(error.code) ? operatorError('IdentityLost', error.message, { cause: error }) : error;
  if (errorCode(error) === 'LeadershipLost') return error as Error;
  return operatorError('StoreUnreachable', errorCode(error) ?? errorText(error), { cause: error });
}
