import { readFileSync } from 'node:fs';
import { createUpstreamCa } from '../../upstreams/tls.ts';
import type { Cluster } from '../cluster.ts';
import { makeNamespace } from './madeNamespace.ts';

export const UPSTREAM_NAMESPACE = 'world';
/** Names of Services, each of which leads to the one upstream. */
const NAMES = ['api', 'other', 'third'];
/** The host of one of the names, as agents call it. */
export const hostOf = (name: 'api' | 'other' | 'third') => `${name}.${UPSTREAM_NAMESPACE}.svc.cluster.local`;
/** A cluster's own addresses are private: Integrations have to allow them by name. */
export const NETWORKS = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'];

/** Starts the upstream, with a certificate for its names under a CA of its own. */
export async function startUpstream(cluster: Cluster, image: string): Promise<{ caPem: string }> {
  const ca = createUpstreamCa();
  const { cert, key } = ca.issue(NAMES.map((name) => hostOf(name as 'api')));
  const metadata = { name: 'upstream', namespace: UPSTREAM_NAMESPACE };
  const labels = { app: 'upstream' };
  const objects = [
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata,
      type: 'kubernetes.io/tls',
      stringData: { 'tls.crt': cert, 'tls.key': key },
    },
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata,
      data: { 'upstream.ts': readFileSync(new URL('upstream.ts', import.meta.url), 'utf8') },
    },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...metadata, labels },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            name: 'upstream',
            image,
            imagePullPolicy: 'IfNotPresent',
            command: ['/usr/local/bin/node', '--disable-warning=ExperimentalWarning', '/code/upstream.ts'],
            readinessProbe: { tcpSocket: { port: 8443 }, periodSeconds: 1 },
            volumeMounts: [
              { name: 'tls', mountPath: '/tls' },
              { name: 'code', mountPath: '/code' },
            ],
          },
        ],
        volumes: [
          { name: 'tls', secret: { secretName: 'upstream' } },
          { name: 'code', configMap: { name: 'upstream' } },
        ],
      },
    },
    ...NAMES.map((name) => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: UPSTREAM_NAMESPACE },
      spec: {
        selector: labels,
        ports: [
          { name: 'https', port: 443, targetPort: 8443 },
          { name: 'http', port: 80, targetPort: 8080 },
        ],
      },
    })),
  ];
  await makeNamespace(cluster, UPSTREAM_NAMESPACE);
  const applied = await cluster.kubectl(['apply', '-f', '-'], {
    input: objects.map((o) => JSON.stringify(o)).join('\n---\n'),
  });
  if (applied.code !== 0) throw new Error(`the upstream was refused: ${applied.stderr}`);
  const ready = await cluster.kubectl([
    '-n',
    UPSTREAM_NAMESPACE,
    'wait',
    'pod/upstream',
    '--for=condition=Ready',
    '--timeout=60s',
  ]);
  if (ready.code !== 0) throw new Error(`the upstream did not start: ${ready.stderr}`);
  return { caPem: ca.pem };
}
