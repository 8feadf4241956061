import { type SecureContext, type TLSSocket, connect as tlsConnect } from 'node:tls';
import { STORE_DNS_NAME } from '../../api/protocol.ts';
import { systemClock } from '../../lib/clock.ts';
import { EventStream } from '../../sidecar/link/eventStream.ts';
import { Identity } from '../../sidecar/link/identity.ts';
import { storeAddress } from '../../sidecar/link/storeAddress.ts';
import { silentLog } from '../../store/testing/core.ts';

/** Together the clients leave the machine to others for most of the time: what starves renews too late. */
const PAUSE_MS = 500;
const BODY = JSON.stringify({ records: [], dropped: 0 });
const REQUEST = `POST /v1/usage HTTP/1.1\r\nhost: ${STORE_DNS_NAME}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`;

type Bootstrap = Parameters<typeof Identity.join>[0]['bootstrap'];

/** What a sidecar has open while the CA rotates, and beside that a handshake whenever the one before is done, with each replica in turn. */
export class RotatingClient {
  readonly failures: string[] = [];
  handshakes = 0;
  resumed = 0;
  requests = 0;
  readonly #identity: Identity;
  readonly #events: EventStream;
  readonly #addresses: readonly ReturnType<typeof storeAddress>[];
  readonly #sessions = new Map<number, Buffer>();
  #context: SecureContext | undefined;
  #over = false;
  #loops: Promise<unknown> | undefined;

  private constructor(identity: Identity, storeUrls: string) {
    this.#identity = identity;
    this.#addresses = storeUrls.split(',').map(storeAddress);
    const fail = (why: string) => this.failures.push(why);
    this.#events = new EventStream({
      replicas: identity.replicas,
      context: () => identity.context,
      event: (event) => {
        if (event.type === 'renew') identity.renewWithin(event.withinSeconds);
      },
      log: { ...silentLog, warn: (details: object) => fail(JSON.stringify(details)) },
      revoked: fail,
    });
  }

  static async join(bootstrap: Bootstrap): Promise<RotatingClient> {
    const log = silentLog;
    const failures: string[] = [];
    const options = {
      clock: systemClock,
      log,
      bootstrap,
      revoked: (why: string) => failures.push(why),
    };
    const client = new RotatingClient(await Identity.join(options), bootstrap.storeUrl);
    client.#loops = Promise.all([client.#handshake(false), client.#handshake(true), client.#open()]);
    return client;
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#loops;
    this.#events.close();
    this.#identity.close();
  }

  /** New connections, full handshakes or by session resumption. */
  async #handshake(resume: boolean): Promise<void> {
    for (let turn = 0; !this.#over; turn += 1) {
      try {
        await this.#connect(turn % this.#addresses.length, resume);
      } catch (error) {
        this.failures.push(`handshake: ${(error as Error).message}`);
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  #connect(replica: number, resume: boolean): Promise<void> {
    const { context } = this.#identity;
    return new Promise((resolve, reject) => {
      // A ticket stands for the certificate that it was given for.
      if (context !== this.#context) this.#sessions.clear();
      this.#context = context;
      const session = resume ? this.#sessions.get(replica) : undefined;
      const tls: TLSSocket = tlsConnect({
        ...this.#addresses[replica]!,
        secureContext: context,
        servername: STORE_DNS_NAME,
        ...(session && { session }),
      });
      let answer = '';
      tls.on('session', (ticket) => {
        if (resume && context === this.#identity.context) this.#sessions.set(replica, ticket);
      });
      tls.once('secureConnect', () => {
        this.handshakes += 1;
        if (tls.isSessionReused()) this.resumed += 1;
        tls.write(REQUEST);
      });
      tls.on('data', (chunk) => {
        answer += chunk;
        if (answer.includes('\r\n')) tls.destroy();
      });
      tls.once('error', reject);
      tls.once('close', () =>
        answer.startsWith('HTTP/1.1 204 ') ? resolve() : reject(new Error(answer.split('\r\n')[0] || 'no answer')),
      );
    });
  }

  /** Requests on connections that stay open. */
  async #open(): Promise<void> {
    while (!this.#over) {
      await this.#identity.client.report({ records: [], dropped: 0 }).then(
        () => {
          this.requests += 1;
        },
        (error: Error) => this.failures.push(`request: ${error.message}`),
      );
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}
