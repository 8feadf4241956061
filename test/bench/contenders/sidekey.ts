import { once } from 'node:events';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { build } from 'rolldown';
import type { JoinTokenAnswer } from '../../../api/admin.ts';
import type { PartMessage, SidecarBootstrap } from '../../../api/bootstrap.ts';
import { placeholderOf } from '../../../api/placeholder.ts';
import type { CredentialRecord, IntegrationRecord } from '../../../api/protocol.ts';
import { NODE_ARGS } from '../../../lib/nodeArgs.ts';
import { admin, json, material, SESSION, StoreClient } from '../../store/storeClient.ts';
import { StoreProcess } from '../../store/storeProcess.ts';
import { Child } from '../child.ts';
import { SECRET, type Upstream } from '../upstream.ts';
import type { Contender } from './contender.ts';

const SOURCE = new URL('../../../sidecar/main.ts', import.meta.url).pathname;
const BUNDLE = join(import.meta.dirname, '..', '.cache', 'sidecar.mjs');
const ALIAS = 'api';
const CREDENTIAL = 'default/bench';
const START_LIMIT_MS = 15_000;

/** As the image has it: from TypeScript sources Node takes 40 MB more and a quarter of a second, for the compiler. */
let bundled: Promise<unknown> | undefined;
/** Stores by their folder: one serves all sidecars of a run, on the core of the load generator. */
const stores = new Map<string, Promise<StoreProcess>>();

/** A real sidecar with a session of a real store. CPU and memory are the sidecar's, which is what every pod pays for. */
export const sidekey: Contender = {
  name: 'Sidekey',
  start: async (upstream) => {
    bundled ??= build({
      input: SOURCE,
      platform: 'node',
      logLevel: 'warn',
      output: { file: BUNDLE, format: 'esm', codeSplitting: false },
    });
    await bundled;
    const store = await storeIn(upstream);
    const invitation = { kind: 'session', session: { ...SESSION, tags: ['bench'] } };
    const { joinToken } = (
      await admin(store, 'POST', '/v1/admin/join-tokens', json(invitation))
    ).json<JoinTokenAnswer>();
    const child = Child.start('contender', process.execPath, [...NODE_ARGS.sidecar, BUNDLE], { control: true });
    const bootstrap: SidecarBootstrap = {
      part: 'sidecar',
      storeUrl: store.storeUrl,
      trustBundlePem: store.trustBundlePem,
      joinToken,
      proxyPort: 0,
      healthPort: 0,
      egress: 'Closed',
      bundleFile: join(upstream.dir, `bundle-${child.pid}.pem`),
      extraCaFile: upstream.caFile,
    };
    const { proxyPort } = await ready(child, bootstrap);
    const shared = { port: proxyPort, bearer: placeholder(upstream) };
    return {
      pid: child.pid,
      startedNs: child.startedNs,
      route: (path) =>
        path === 'baseURL'
          ? { ...shared, via: 'plain', host: `${ALIAS}.sidekey.internal:${proxyPort}` }
          : { ...shared, via: 'connect' },
      get said() {
        return child.said;
      },
      stop: () => child.stop(),
    };
  },
};

function storeIn(upstream: Upstream): Promise<StoreProcess> {
  const store = stores.get(upstream.dir) ?? startStore(upstream);
  stores.set(upstream.dir, store);
  return store;
}

async function startStore(upstream: Upstream): Promise<StoreProcess> {
  const store = await StoreProcess.start(join(upstream.dir, 'store'));
  const operator = await StoreClient.join(store, { kind: 'operator' });
  const hosts = [upstream.authority];
  const credential: CredentialRecord = { hosts, leaseSeconds: 900, consumerNamespaces: [], source: 'store' };
  const integration: IntegrationRecord = {
    createdAt: '2026-01-01T00:00:00Z',
    credential: CREDENTIAL,
    hosts,
    alias: ALIAS,
    inject: [{ bearer: {} }],
    rules: [],
    limits: [],
    placeholder: placeholder(upstream),
    allowedNetworks: ['127.0.0.0/8', '::1/128'],
    allowPlaintext: false,
    subjects: { tags: ['bench'] },
  };
  const answers = [
    await operator.call('PUT', `/v1/credentials/${CREDENTIAL}`, json(credential)),
    await admin(store, 'PUT', `/v1/admin/credentials/${CREDENTIAL}/material`, material({ value: SECRET })),
    await operator.call('PUT', `/v1/integrations/${CREDENTIAL}`, json(integration)),
  ];
  operator.close();
  const refused = answers.find(({ status }) => status >= 300);
  if (refused !== undefined) throw new Error(`the store refused: ${refused.status} ${refused.body}`);
  return store;
}

/** What the agent holds and its SDK sends. */
function placeholder(upstream: Upstream): string {
  return placeholderOf({ key: CREDENTIAL, hosts: [upstream.authority] });
}

async function ready(child: Child, bootstrap: SidecarBootstrap): Promise<{ proxyPort: number }> {
  const control = child.process.stdio[3] as Duplex;
  control.on('error', () => {});
  control.write(`${JSON.stringify(bootstrap)}\n`);
  const [line] = await once(control, 'data', { signal: AbortSignal.timeout(START_LIMIT_MS) }).catch(() => ['']);
  const message: PartMessage | undefined = String(line) === '' ? undefined : JSON.parse(String(line));
  if (message?.type === 'ready' && 'proxyPort' in message) return message;
  child.killTree();
  throw new Error(message?.type === 'failed' ? `${message.code}: ${message.message}` : `no answer; ${child.said}`);
}
