import type { Authority } from './authority.ts';

const SERVICE_RANGE = '10.96.0.0/16';
/** Of CoreDNS. */
export const SERVICE_DNS_ADDRESS = '10.96.0.10';
const CLUSTER_DOMAIN = 'cluster.local';

export interface ApiServerOptions {
  authority: Authority;
  port: number;
  etcdPort: number;
  /** Of the node in a whole cluster; loopback is refused for what the `kubernetes` Service leads to. */
  advertisedAddress?: string | undefined;
}

/** What kube-apiserver is started with: as kubeadm does, where a test could tell the difference. */
export function apiServerArgs(options: ApiServerOptions): string[] {
  const { advertisedAddress, authority, etcdPort, port } = options;
  const names = [
    'localhost',
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    `kubernetes.default.svc.${CLUSTER_DOMAIN}`,
  ];
  const addresses = ['127.0.0.1', '10.96.0.1', ...(advertisedAddress ? [advertisedAddress] : [])];
  const server = authority.issue('kube-apiserver', { name: 'kube-apiserver' }, [
    ...names.map((name) => `DNS:${name}`),
    ...addresses.map((address) => `IP:${address}`),
  ]);
  const kubeletClient = authority.issue('kube-apiserver-kubelet-client', {
    name: 'kube-apiserver',
    groups: ['system:masters'],
  });
  return [
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    `--bind-address=${advertisedAddress === undefined ? '127.0.0.1' : '0.0.0.0'}`,
    `--secure-port=${port}`,
    ...(advertisedAddress === undefined
      ? ['--advertise-address=192.0.2.1', '--endpoint-reconciler-type=none']
      : [`--advertise-address=${advertisedAddress}`]),
    `--tls-cert-file=${server.certFile}`,
    `--tls-private-key-file=${server.keyFile}`,
    `--client-ca-file=${authority.caFile}`,
    `--kubelet-client-certificate=${kubeletClient.certFile}`,
    `--kubelet-client-key=${kubeletClient.keyFile}`,
    '--kubelet-preferred-address-types=InternalIP',
    `--service-cluster-ip-range=${SERVICE_RANGE}`,
    `--service-account-issuer=https://kubernetes.default.svc.${CLUSTER_DOMAIN}`,
    `--service-account-key-file=${authority.serviceAccountKeyFile}`,
    `--service-account-signing-key-file=${authority.serviceAccountKeyFile}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    '--allow-privileged=true',
    // Webhooks behind a Service are reached by its endpoints: the API server is not where kube-proxy works.
    '--enable-aggregator-routing=true',
    '--profiling=false',
  ];
}
