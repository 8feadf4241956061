import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { request as httpRequest } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { createInterface } from 'node:readline';
import type { AuditChain, AuditEntry, AuditHead, JoinTokenAnswer, JoinTokenRequest } from '../../api/admin.ts';
import { encodeFields, MATERIAL_CONTENT_TYPE } from '../../api/fields.ts';
import type { JoinAnswer, SessionEvent } from '../../api/protocol.ts';
import { type AuditVerdict, verifyAudit } from '../../lib/auditVerify.ts';
import type { StoreProcess } from './storeProcess.ts';

export interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  body: Buffer;
  json<T>(): T;
}

export interface Body {
  type: string;
  bytes: Buffer | string;
}

export const json = (value: unknown): Body => ({ type: 'application/json', bytes: JSON.stringify(value) });
export const material = (fields: Record<string, string>): Body => ({
  type: MATERIAL_CONTENT_TYPE,
  bytes: encodeFields(Object.entries(fields).map(([name, text]) => [name, Buffer.from(text)] as const)),
});

/** Whom the tests' sidecars are, unless they are somebody else. */
export const SESSION: NonNullable<JoinTokenRequest['session']> = {
  namespace: 'default',
  serviceAccount: 'default',
  role: 'coder',
  tags: ['llm'],
  requester: 'tester',
};

export interface ClientTls {
  key?: string;
  cert?: string;
}

/** A client of a store that is as plain as can be: what it sends is what a test says. */
export class StoreClient {
  readonly store: Pick<StoreProcess, 'storeUrl' | 'trustBundlePem'>;
  readonly answer: JoinAnswer;
  /** What a client with the same identity needs, on another connection or to another process. */
  readonly tls: ClientTls;
  readonly agent: Agent;

  constructor(
    store: Pick<StoreProcess, 'storeUrl' | 'trustBundlePem'>,
    answer: JoinAnswer,
    tls: ClientTls & { localAddress?: string },
  ) {
    this.store = store;
    this.answer = answer;
    this.tls = tls;
    this.agent = new Agent({ keepAlive: true, ca: store.trustBundlePem, servername: 'store.sidekey.internal', ...tls });
  }

  static async join(store: StoreProcess, invitation: JoinTokenRequest): Promise<StoreClient> {
    const { joinToken } = (
      await admin(store, 'POST', '/v1/admin/join-tokens', json(invitation))
    ).json<JoinTokenAnswer>();
    const { publicKeyPem, key } = clientKey();
    const answer = await anonymous(store).call('POST', '/v1/join', json({ joinToken, publicKeyPem }));
    if (answer.status !== 200) throw new Error(`join was answered ${answer.status} ${answer.body}`);
    const joined = answer.json<JoinAnswer>();
    return new StoreClient(store, joined, { key, cert: joined.certificatePem });
  }

  call(method: string, path: string, body?: Body): Promise<Answer> {
    return send(httpsRequest(new URL(path, this.store.storeUrl), { agent: this.agent, method }), body);
  }

  /** The session's events, from a connection of its own. */
  async events(): Promise<EventReader> {
    const request = httpsRequest(new URL('/v1/session/events', this.store.storeUrl), { agent: this.agent });
    request.end();
    return new EventReader(await responded(request));
  }

  close(): void {
    this.agent.destroy();
  }
}

export class EventReader {
  readonly response: IncomingMessage;
  readonly #lines: AsyncIterator<string>;

  constructor(response: IncomingMessage) {
    this.response = response;
    response.on('error', () => {});
    this.#lines = createInterface({ input: response })[Symbol.asyncIterator]();
  }

  /** The next event that is no heartbeat; undefined at the end. */
  async next<T = SessionEvent>(): Promise<T | undefined> {
    for (;;) {
      const line = await this.#lines.next();
      if (line.done) return undefined;
      const event = JSON.parse(line.value) as T & { type: string };
      if (event.type !== 'heartbeat') return event;
    }
  }
}

/** Without a client certificate, and from that address of this machine. */
export function anonymous(store: StoreClient['store'], localAddress?: string): StoreClient {
  return new StoreClient(store, {} as JoinAnswer, { ...(localAddress && { localAddress }) });
}

export function clientKey(): { publicKeyPem: string; key: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    key: createPrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' }))
      .export({ type: 'pkcs8', format: 'pem' })
      .toString(),
  };
}

/** A request on the admin socket. */
export function admin(store: StoreProcess, method: string, path: string, body?: Body): Promise<Answer> {
  return send(httpRequest({ socketPath: store.adminSocket, method, path, agent: false }), body);
}

export async function auditOf(store: StoreProcess, chain?: string): Promise<AuditEntry[]> {
  const { body } = await admin(store, 'GET', `/v1/admin/audit${chain === undefined ? '' : `?chain=${chain}`}`);
  return body
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

export async function verified(store: StoreProcess): Promise<AuditVerdict> {
  const head = (await admin(store, 'GET', '/v1/admin/audit/head')).json<AuditHead>();
  return verifyAudit(await auditOf(store), [head]);
}

/** All chains of the audit, of all replicas. */
export async function auditOfAll(store: StoreProcess): Promise<AuditEntry[]> {
  const entries: AuditEntry[] = [];
  for (const { chain } of await chainsOf(store)) entries.push(...(await auditOf(store, chain)));
  return entries;
}

export async function verifiedAll(store: StoreProcess): Promise<AuditVerdict> {
  const chains = await chainsOf(store);
  const heads = chains.flatMap(({ head }) => head ?? []);
  const checkpoints = chains.flatMap(({ checkpoint }) => checkpoint ?? []);
  return verifyAudit(await auditOfAll(store), heads, checkpoints);
}

async function chainsOf(store: StoreProcess): Promise<AuditChain[]> {
  return (await admin(store, 'GET', '/v1/admin/audit/chains')).json<AuditChain[]>();
}

type Outgoing = ReturnType<typeof httpRequest>;

async function send(request: Outgoing, body?: Body): Promise<Answer> {
  if (body !== undefined) {
    request.setHeader('content-type', body.type);
    request.setHeader('content-length', Buffer.byteLength(body.bytes));
  }
  request.end(body?.bytes);
  const response = await responded(request);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  return {
    status: response.statusCode!,
    headers: response.headers,
    body: bytes,
    json: () => JSON.parse(bytes.toString()),
  };
}

function responded(request: Outgoing): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => request.once('response', resolve).on('error', reject));
}
