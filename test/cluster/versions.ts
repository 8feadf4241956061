/** What the cluster of the tests is made of: all versions, in one place. The go.mod files beside it say the same, by test. */
export const KUBERNETES_VERSION = '1.34.4';

export type BinaryName =
  | 'etcd'
  | 'kube-apiserver'
  | 'kube-controller-manager'
  | 'kube-scheduler'
  | 'kubelet'
  | 'kube-proxy'
  | 'coredns'
  | 'pause';

export interface GoProgram {
  /** The folder under go/ whose go.mod and go.sum say what is built, to the byte. */
  module: 'etcd' | 'kubernetes' | 'coredns' | 'pause';
  /** Where that go.mod requires it, unless it is our own. */
  required?: { path: string; version: string };
  package: string;
}

const kubernetes = (program: string): GoProgram => ({
  module: 'kubernetes',
  required: { path: 'k8s.io/kubernetes', version: `v${KUBERNETES_VERSION}` },
  package: `k8s.io/kubernetes/cmd/${program}`,
});

/** In the order in which they are built: what most tests wait for comes first. */
export const GO_PROGRAMS: Readonly<Record<BinaryName, GoProgram>> = {
  etcd: {
    module: 'etcd',
    required: { path: 'go.etcd.io/etcd/server/v3', version: 'v3.6.4' },
    package: 'go.etcd.io/etcd/server/v3',
  },
  'kube-apiserver': kubernetes('kube-apiserver'),
  'kube-controller-manager': kubernetes('kube-controller-manager'),
  'kube-scheduler': kubernetes('kube-scheduler'),
  kubelet: kubernetes('kubelet'),
  'kube-proxy': kubernetes('kube-proxy'),
  coredns: {
    module: 'coredns',
    required: { path: 'github.com/coredns/coredns', version: 'v1.13.1' },
    package: 'github.com/coredns/coredns',
  },
  pause: { module: 'pause', package: '.' },
};

/** What an API server says its version is: without it, `v0.0.0-master`, which clients and version skew checks take for very old. */
const [major, minor] = KUBERNETES_VERSION.split('.');
export const LINKER_FLAGS = [
  '-s',
  '-w',
  `-X k8s.io/component-base/version.gitVersion=v${KUBERNETES_VERSION}`,
  `-X k8s.io/component-base/version.gitMajor=${major}`,
  `-X k8s.io/component-base/version.gitMinor=${minor}`,
].join(' ');
