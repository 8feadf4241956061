import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Authority, ClusterUser } from './authority.ts';
import { kubeconfig } from './kubeconfig.ts';
import { nodeConfig } from './nodeConfig.ts';
import type { BinaryName } from './versions.ts';

/** Writes what the programs of the node are configured by, and says how each is started. */
export function nodeCommands(options: {
  dir: string;
  name: string;
  address: string;
  nodeName: string;
  apiPort: number;
  authority: Authority;
  programs: Record<BinaryName, string>;
}): Record<string, readonly string[]> {
  const { address, apiPort, authority, dir, name, nodeName, programs } = options;
  const nodeDir = join(dir, 'node');
  const files: Record<string, string> = nodeConfig({
    dir: nodeDir,
    name,
    address,
    caFile: authority.caFile,
    podLogsDir: join(dir, 'pod-logs'),
  });
  const localUrl = `https://127.0.0.1:${apiPort}`;
  const users: Record<string, ClusterUser> = {
    kubelet: { name: `system:node:${nodeName}`, groups: ['system:nodes'] },
    'kube-proxy': { name: 'system:kube-proxy' },
    coredns: { name: 'system:coredns' },
  };
  for (const [program, user] of Object.entries(users))
    files[`${program}.kubeconfig`] = kubeconfig(localUrl, authority, user);
  for (const [file, text] of Object.entries(files)) {
    const path = join(nodeDir, file);
    mkdirSync(dirname(path), { recursive: true });
    // What runs watches its own: kube-proxy ends when it is written to. And `setHosts` may have written since.
    if (!existsSync(path)) writeFileSync(path, text, { mode: 0o600 });
  }
  return {
    containerd: ['containerd', '--config', join(nodeDir, 'containerd.toml')],
    kubelet: [
      programs.kubelet,
      `--config=${join(nodeDir, 'kubelet.json')}`,
      `--kubeconfig=${join(nodeDir, 'kubelet.kubeconfig')}`,
      '--root-dir=/run/kubelet',
      `--hostname-override=${nodeName}`,
      `--node-ip=${address}`,
    ],
    'kube-proxy': [
      programs['kube-proxy'],
      `--config=${join(nodeDir, 'kube-proxy.json')}`,
      `--hostname-override=${nodeName}`,
    ],
    coredns: [programs.coredns, '-conf', join(nodeDir, 'Corefile')],
  };
}
