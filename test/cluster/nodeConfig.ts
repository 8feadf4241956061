import { SERVICE_DNS_ADDRESS } from './apiServer.ts';
import { PAUSE_IMAGE } from './images.ts';
import { cgroupRoot } from './machine.ts';

export const POD_RANGE = '10.244.0.0/16';
export const CONTAINERD_SOCKET = '/run/containerd/containerd.sock';

/** The files that a node's programs are configured by, by name; `dir` is where they are. */
export function nodeConfig(options: {
  dir: string;
  name: string;
  caFile: string;
  podLogsDir: string;
  address: string;
}): Record<string, string> {
  const { address, caFile, dir, name, podLogsDir } = options;
  return {
    'containerd.toml': `version = 2
root = "/run/containerd-data"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
address = "${CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
# Without CAP_SYS_RESOURCE, as in a container, runc would end without a word.
restrict_oom_score_adj = true
sandbox_image = "${PAUSE_IMAGE}"
stream_server_address = "127.0.0.1"
stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "${dir}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
`,
    'cni/10-bridge.conflist': JSON.stringify({
      cniVersion: '0.4.0',
      name: 'sidekey',
      plugins: [
        {
          type: 'bridge',
          bridge: 'pods0',
          isGateway: true,
          ipMasq: true,
          hairpinMode: true,
          ipam: {
            type: 'host-local',
            ranges: [[{ subnet: POD_RANGE }]],
            routes: [{ dst: '0.0.0.0/0' }],
            dataDir: '/run/cni-addresses',
          },
        },
        { type: 'portmap', capabilities: { portMappings: true } },
      ],
    }),
    'kubelet.json': JSON.stringify({
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: caFile } },
      authorization: { mode: 'Webhook' },
      cgroupDriver: 'cgroupfs',
      // Of its own: a kubelet removes pods' cgroups that it does not know.
      cgroupRoot: cgroupRoot(name),
      clusterDNS: [SERVICE_DNS_ADDRESS],
      clusterDomain: 'cluster.local',
      containerRuntimeEndpoint: `unix://${CONTAINERD_SOCKET}`,
      enforceNodeAllocatable: [],
      evictionHard: {
        'memory.available': '50Mi',
        'nodefs.available': '0%',
        'nodefs.inodesFree': '0%',
        'imagefs.available': '0%',
      },
      failSwapOn: false,
      imageGCHighThresholdPercent: 100,
      localStorageCapacityIsolation: false,
      maxPods: 300,
      podLogsDir,
      readOnlyPort: 0,
      resolvConf: `${dir}/resolv.conf`,
      serializeImagePulls: false,
      volumePluginDir: '/run/kubelet-plugins',
    }),
    'kube-proxy.json': JSON.stringify({
      apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
      kind: 'KubeProxyConfiguration',
      mode: 'iptables',
      clusterCIDR: POD_RANGE,
      clientConnection: { kubeconfig: `${dir}/kube-proxy.kubeconfig` },
      // What would be written is not ours in a network namespace.
      conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
      iptables: { minSyncPeriod: '100ms' },
    }),
    // Names of the world are what a test says they are; all others do not exist.
    Corefile: `.:53 {
  bind ${address}
  errors
  hosts ${dir}/hosts {
    ttl 1
    reload 1s
    fallthrough
  }
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig ${dir}/coredns.kubeconfig
    pods insecure
    ttl 1
  }
  file ${dir}/root.zone .
}
`,
    'root.zone': '. 5 IN SOA ns.invalid. nobody.invalid. 1 60 60 60 5\n. 5 IN NS ns.invalid.\n',
    hosts: '',
    'resolv.conf': '',
  };
}
