import type { ConnectionOptions } from 'node:tls';
import type { UsageRecord } from '../../../api/protocol.ts';
import { errorCode } from '../../../lib/errors.ts';
import { LOOPBACK, SidecarProcess, type SidecarProcessOptions } from '../../sidecar/sidecarProcess.ts';
import { TestStore } from '../../sidecar/testStore.ts';
import { auditOf } from '../../store/storeClient.ts';
import { createUpstreamCa } from '../../upstreams/tls.ts';
import { AgentConnection, type Answer } from './agentConnection.ts';
import { RawUpstream } from './rawUpstream.ts';

/** Material that each encoding spells differently. */
export const SECRET = 'sk-live/7Qz+84"mN\\0Xw==tail9';
export const BEARER = `Bearer ${SECRET}`;

const PAIR_ATTEMPTS = 20;
const FAKE_DNS = new URL('fakeDns.ts', import.meta.url).pathname;

/** A store, a sidecar, and upstreams: each a process or socket of its own. What tests attack. */
export class Lab {
  readonly ca = createUpstreamCa();
  readonly #upstreams: RawUpstream[] = [];
  store!: TestStore;
  sidecar!: SidecarProcess;
  /** `api.localhost`, and whatever other names it was started with. */
  api!: RawUpstream;

  /** `configure` says what differs from one credential for one host with alias `example`. */
  static async start(
    configure: (lab: Lab) => SidecarProcessOptions | Promise<SidecarProcessOptions> = () => ({}),
    names: readonly string[] = [],
  ): Promise<Lab> {
    const lab = new Lab();
    lab.api = await lab.upstream(['api.localhost', ...names]);
    lab.store = await TestStore.start();
    try {
      lab.sidecar = await SidecarProcess.start(await lab.options(await configure(lab)));
    } catch (error) {
      await lab.close();
      throw error;
    }
    return lab;
  }

  /** The options of `start`, with the usual ones where it says nothing. */
  async options(options: SidecarProcessOptions): Promise<SidecarProcessOptions> {
    return {
      store: this.store,
      extraCaPem: this.ca.pem,
      credentials: { 'default/key': { hosts: [this.api.host()], material: SECRET } },
      integrations: {
        'default/example': { hosts: [this.api.host()], alias: 'example', allowedNetworks: LOOPBACK },
      },
      ...options,
    };
  }

  /** Another sidecar on the same store, for the caller to close. */
  async another(options: SidecarProcessOptions): Promise<SidecarProcess> {
    return SidecarProcess.start({ store: this.store, extraCaPem: this.ca.pem, ...options });
  }

  async upstream(names: readonly string[], options: { address?: string; port?: number } = {}): Promise<RawUpstream> {
    const upstream = await RawUpstream.start(names, this.ca.issue(names), options);
    this.#upstreams.push(upstream);
    return upstream;
  }

  /** Two upstreams of the same names and port, the first at 127.0.0.2: a name can lead from one to the other. */
  async upstreamPair(names: readonly string[]): Promise<[RawUpstream, RawUpstream]> {
    for (let attempt = 1; ; attempt += 1) {
      const first = await this.upstream(names, { address: '127.0.0.2' });
      try {
        return [first, await this.upstream(names, { port: first.port })];
      } catch (error) {
        // Somebody has the port at the other address; the next one will be free.
        if (errorCode(error) !== 'EADDRINUSE' || attempt === PAIR_ATTEMPTS) throw error;
        first.close();
      }
    }
  }

  async plainUpstream(names: readonly string[]): Promise<RawUpstream> {
    const upstream = await RawUpstream.start(names, undefined);
    this.#upstreams.push(upstream);
    return upstream;
  }

  open(): Promise<AgentConnection> {
    return AgentConnection.open(this.sidecar.proxyPort);
  }

  /** To the sidecar's interception, or through it to the host itself. */
  tunnel(authority = this.api.host(), tls: ConnectionOptions = {}): Promise<AgentConnection> {
    return AgentConnection.tunnel(this.sidecar.proxyPort, authority, { ca: [this.sidecar.caPem, this.ca.pem], ...tls });
  }

  /** One request on a connection of its own to the proxy port. */
  async ask(request: string | Buffer, method?: string): Promise<Answer> {
    const connection = await this.open();
    try {
      return await connection.send(request).answer(method);
    } finally {
      connection.close();
    }
  }

  /** One request in a tunnel of its own. */
  async askInTunnel(request: string | Buffer, authority = this.api.host(), method?: string): Promise<Answer> {
    const connection = await this.tunnel(authority);
    try {
      return await connection.send(request).answer(method);
    } finally {
      connection.close();
    }
  }

  /** GET by the base URL of an alias. */
  get(path: string, fields = '', alias = 'example'): Promise<Answer> {
    return this.ask(`GET /${alias}${path} HTTP/1.1\r\nHost: 127.0.0.1:${this.sidecar.proxyPort}\r\n${fields}\r\n`);
  }

  /** What the store's audit says of use. */
  async usage(): Promise<UsageRecord[]> {
    return (await auditOf(this.store.process)).flatMap(({ event }) =>
      event.kind === 'usage.reported' ? (event.records as UsageRecord[]) : [],
    );
  }

  async close(): Promise<void> {
    await this.sidecar?.close();
    await this.store?.stop();
    for (const upstream of this.#upstreams) upstream.close();
  }
}

/** What makes a sidecar process ask our name server: name → its answers in turn. */
export function withDns(answers: Record<string, string[][]>): Pick<SidecarProcessOptions, 'env' | 'nodeArguments'> {
  return { env: { PATH: process.env.PATH, TEST_DNS: JSON.stringify(answers) }, nodeArguments: ['--import', FAKE_DNS] };
}

/** The code and reason of a refusal. */
export function refusalOf({ status, fields }: Answer): string {
  return `${status} ${fields.get('sidekey-error') ?? 'no refusal'}`;
}
