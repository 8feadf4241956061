import { X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import type { KubeClient } from '../../lib/kube/client.ts';
import { TLS_DEFAULTS } from '../../lib/tls.ts';
import type { Pair } from './pair.ts';

const HANDSHAKE_MS = 3_000;

export interface Endpoint {
  host: string;
  port: number;
}

interface EndpointSlice {
  endpoints?: { addresses: string[]; conditions?: { serving?: boolean | null; terminating?: boolean | null } }[] | null;
  ports?: { port?: number | null }[] | null;
}

/** Of a Service, by its EndpointSlices: all that the API server may ask, those that are ending included. @throws KubeRefused, KubeUnreachable */
export async function endpointsOf(client: KubeClient, namespace: string, service: string): Promise<Endpoint[]> {
  const { items } = await client.list<EndpointSlice>(
    `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`,
    {
      labelSelector: `kubernetes.io/service-name=${service}`,
    },
  );
  return items.flatMap(({ endpoints, ports }) => {
    const port = ports?.[0]?.port;
    if (!port) return [];
    return (endpoints ?? []).flatMap(({ addresses, conditions }) =>
      conditions?.serving === false ? [] : [{ host: addresses[0]!, port }],
    );
  });
}

/** Whether that one serves the pair's certificate: seen by a handshake as the API server does it. */
export function serves({ host, port }: Endpoint, { caPem, certPem }: Pair, servername: string): Promise<boolean> {
  const expected = new X509Certificate(certPem).fingerprint256;
  return new Promise((resolve) => {
    const socket = connect({ ...TLS_DEFAULTS, host, port, servername, ca: caPem, timeout: HANDSHAKE_MS }, () => {
      resolve(socket.getPeerX509Certificate()?.fingerprint256 === expected);
      socket.destroy();
    });
    socket.on('timeout', () => socket.destroy(new Error('no handshake in time')));
    socket.on('error', () => resolve(false));
    socket.on('close', () => resolve(false));
  });
}
