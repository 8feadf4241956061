import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { apiServerArgs } from './apiServer.ts';
import type { Authority } from './authority.ts';
import { kubeconfig } from './kubeconfig.ts';

/** How the programs of a control plane are started, in their order; those that are not asked for have no program. */
export function controlPlaneCommands(options: {
  dir: string;
  authority: Authority;
  programs: { etcd: string; 'kube-apiserver': string; 'kube-controller-manager'?: string; 'kube-scheduler'?: string };
  ports: { api: number; etcd: number; etcdPeer: number };
  etcdDir?: string | undefined;
  nodeAddress?: string | undefined;
}): Map<string, readonly string[]> {
  const { authority, dir, etcdDir = join(dir, 'etcd'), nodeAddress, ports, programs } = options;
  const configOf = (component: string) => {
    const file = join(dir, `${component}.kubeconfig`);
    const url = `https://127.0.0.1:${ports.api}`;
    writeFileSync(file, kubeconfig(url, authority, { name: `system:${component}` }), { mode: 0o600 });
    return file;
  };
  const apiServer = apiServerArgs({
    authority,
    port: ports.api,
    etcdPort: ports.etcd,
    advertisedAddress: nodeAddress,
  });
  const commands = new Map<string, readonly string[]>([
    ['etcd', [programs.etcd, ...etcdArgs(etcdDir, ports.etcd, ports.etcdPeer)]],
    ['kube-apiserver', [programs['kube-apiserver'], ...apiServer]],
  ]);
  if (programs['kube-controller-manager'] !== undefined)
    commands.set('kube-controller-manager', [
      programs['kube-controller-manager'],
      `--kubeconfig=${configOf('kube-controller-manager')}`,
      `--service-account-private-key-file=${authority.serviceAccountKeyFile}`,
      `--root-ca-file=${authority.caFile}`,
      `--cluster-signing-cert-file=${authority.caFile}`,
      `--cluster-signing-key-file=${authority.caKeyFile}`,
      '--use-service-account-credentials=true',
      '--leader-elect=false',
      '--secure-port=0',
    ]);
  if (programs['kube-scheduler'] !== undefined)
    commands.set('kube-scheduler', [
      programs['kube-scheduler'],
      `--kubeconfig=${configOf('kube-scheduler')}`,
      '--leader-elect=false',
      '--secure-port=0',
    ]);
  return commands;
}

function etcdArgs(dataDir: string, port: number, peerPort: number): string[] {
  const url = `http://127.0.0.1:${port}`;
  const peerUrl = `http://127.0.0.1:${peerPort}`;
  return [
    `--data-dir=${dataDir}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=default=${peerUrl}`,
    // What a test stores need not outlive a power cut.
    '--unsafe-no-fsync',
    '--log-level=warn',
  ];
}
