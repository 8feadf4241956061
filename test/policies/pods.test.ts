import type { V1EphemeralContainer } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { START_LIMIT_MS } from '../crds/withCrds.ts';
import { type AgentPod, agentOf, agentPod, plainPod, sidecarOf } from './agentPod.ts';
import { deniedBy } from './deniedBy.ts';
import {
  EXCLUDED_NAMESPACE,
  type Governed,
  IMAGE,
  NAMESPACE,
  outcome,
  RELEASE_NAMESPACE,
  STORE_URL,
  startWithPolicies,
} from './withPolicies.ts';

let cluster: Governed;
beforeAll(async () => {
  cluster = await startWithPolicies();
}, START_LIMIT_MS);
afterAll(() => cluster?.plane.stop());

const DRY = { dryRun: 'All' };
const podsIn = (namespace: string) => `/api/v1/namespaces/${namespace}/pods`;
const create = (pod: AgentPod, namespace = NAMESPACE) => outcome(cluster.admin.create(podsIn(namespace), pod, DRY));
const genuine = (name = 'new') => agentPod(name, IMAGE, STORE_URL);

test('a pod as the webhook leaves it is admitted, and one that has nothing to do with us', async () => {
  expect(await create(genuine())).toBe('allowed');
  expect(await create(plainPod('new'))).toBe('allowed');
});

/** What is changed in a genuine pod, and what the policy says of it. */
type Hole = [hole: string, change: (pod: AgentPod) => void, words: string];

const TOKEN = { name: 'sidekey-token', mountPath: '/stolen' };
const SIDECAR_HOLES: Hole[] = [
  [
    'a token volume without the label',
    (pod) => {
      pod.metadata.labels = {};
    },
    'belongs in pods labelled sidekey.dev/inject=true',
  ],
  [
    'a token volume without the sidecar',
    (pod) => {
      pod.spec.initContainers = [];
    },
    'needs the init container sidekey',
  ],
  [
    'the token in the agent',
    (pod) => {
      agentOf(pod).volumeMounts = [TOKEN];
    },
    'only the sidekey container may mount its token',
  ],
  [
    'the token in an init container',
    (pod) => {
      pod.spec.initContainers.push({ name: 'thief', image: 'x', volumeMounts: [TOKEN] });
    },
    'only the sidekey container may mount its token',
  ],
  [
    'the token in the redirect container',
    (pod) => {
      pod.spec.initContainers[0]!.volumeMounts = [TOKEN];
    },
    'only the sidekey container may mount its token',
  ],
  [
    'a second volume with the token',
    (pod) => {
      pod.spec.volumes.push({
        name: 'mine',
        projected: { sources: [{ serviceAccountToken: { audience: 'sidekey', path: 't' } }] },
      });
      agentOf(pod).volumeMounts = [{ name: 'mine', mountPath: '/mine' }];
    },
    'only the sidekey container may mount its token',
  ],
  [
    'the private volume in the agent',
    (pod) => {
      agentOf(pod).volumeMounts = [{ name: 'sidekey-private', mountPath: '/p' }];
    },
    'only the sidekey container may mount its token and its private volume',
  ],
  [
    'the public volume writable in the agent',
    (pod) => {
      agentOf(pod).volumeMounts = [{ name: 'sidekey-public', mountPath: '/p' }];
    },
    'sidekey-public must be mounted with readOnly',
  ],
  [
    'a private volume that is kept',
    (pod) => {
      pod.spec.volumes[1] = { name: 'sidekey-private', persistentVolumeClaim: { claimName: 'mine' } };
    },
    'must be emptyDir with medium Memory',
  ],
  [
    'a private volume on the disk',
    (pod) => {
      pod.spec.volumes[1] = { name: 'sidekey-private', emptyDir: {} };
    },
    'must be emptyDir with medium Memory',
  ],
  [
    'another image',
    (pod) => {
      sidecarOf(pod).image = 'evil.example/sidekey:1';
    },
    `must have the image ${IMAGE}`,
  ],
  [
    'our image by a tag',
    (pod) => {
      sidecarOf(pod).image = 'sidekey.test/sidekey:1';
    },
    `must have the image ${IMAGE}`,
  ],
  [
    'an image whose name begins as ours',
    (pod) => {
      sidecarOf(pod).image = `sidekey.test/sidekey-evil@sha256:${'a'.repeat(64)}`;
    },
    `must have the image ${IMAGE}`,
  ],
  [
    'another image in the redirect container',
    (pod) => {
      pod.spec.initContainers[0]!.image = 'evil';
    },
    `must have the image ${IMAGE}`,
  ],
  [
    'the genuine image with another command',
    (pod) => {
      sidecarOf(pod).command = ['/usr/local/bin/node', '-e', 'steal()'];
    },
    'the command and args of the sidekey container',
  ],
  [
    'the genuine image with its own command',
    (pod) => {
      delete sidecarOf(pod).command;
    },
    'the command and args of the sidekey container',
  ],
  [
    'one more argument',
    (pod) => {
      sidecarOf(pod).args = ['--in-pod', '--inspect'];
    },
    'the command and args of the sidekey container',
  ],
  [
    'one more option of Node',
    (pod) => {
      sidecarOf(pod).command!.splice(1, 0, '--inspect=0.0.0.0');
    },
    'the command and args of the sidekey container',
  ],
  [
    'another working directory',
    (pod) => {
      sidecarOf(pod).workingDir = '/tmp';
    },
    'the command and args of the sidekey container',
  ],
  [
    'NODE_OPTIONS',
    (pod) => {
      sidecarOf(pod).env.push({ name: 'NODE_OPTIONS', value: '--require=/x' });
    },
    'the environment of the sidekey container',
  ],
  [
    'LD_PRELOAD',
    (pod) => {
      sidecarOf(pod).env.push({ name: 'LD_PRELOAD', value: '/x' });
    },
    'the environment of the sidekey container',
  ],
  [
    'envFrom',
    (pod) => {
      sidecarOf(pod).envFrom = [{ configMapRef: { name: 'mine' } }];
    },
    'the environment of the sidekey container',
  ],
  [
    'a trust bundle out of a ConfigMap',
    (pod) => {
      sidecarOf(pod).env[1] = {
        name: 'SIDEKEY_TRUST_BUNDLE',
        valueFrom: { configMapKeyRef: { name: 'mine', key: 'ca' } },
      };
    },
    'the environment of the sidekey container',
  ],
  [
    'another store',
    (pod) => {
      sidecarOf(pod).env[0]!.value = 'https://attacker.example:8443';
    },
    `must have SIDEKEY_STORE_URL=${STORE_URL}`,
  ],
  [
    'two stores, the second of which counts',
    (pod) => {
      sidecarOf(pod).env.push({ name: 'SIDEKEY_STORE_URL', value: 'https://attacker.example' });
    },
    `must have SIDEKEY_STORE_URL=${STORE_URL}`,
  ],
  [
    'no store',
    (pod) => {
      sidecarOf(pod).env.shift();
    },
    `must have SIDEKEY_STORE_URL=${STORE_URL}`,
  ],
  [
    'another hook after its start',
    (pod) => {
      sidecarOf(pod).lifecycle = { postStart: { exec: { command: ['/usr/local/bin/node', '-e', '1'] } } };
    },
    'no lifecycle hook but that of the webhook, no exec probes',
  ],
  [
    'a hook after its start that asks somebody',
    (pod) => {
      sidecarOf(pod).lifecycle = { postStart: { httpGet: { port: 80, host: 'attacker.example' } } };
    },
    'no lifecycle hook but that of the webhook, no exec probes',
  ],
  [
    'a hook before its end',
    (pod) => {
      sidecarOf(pod).lifecycle!.preStop = { exec: { command: ['/usr/local/bin/node', '-e', '1'] } };
    },
    'no lifecycle hook but that of the webhook, no exec probes',
  ],
  [
    'an exec probe',
    (pod) => {
      sidecarOf(pod).livenessProbe = { exec: { command: ['/usr/local/bin/node', '-e', '1'] } };
    },
    'no lifecycle hook but that of the webhook, no exec probes',
  ],
  [
    'standard input',
    (pod) => {
      sidecarOf(pod).stdin = true;
    },
    'no lifecycle hook but that of the webhook, no exec probes, no stdin',
  ],
  [
    "the agent's user",
    (pod) => {
      sidecarOf(pod).securityContext!.runAsUser = 1000;
    },
    'the security context that the webhook sets',
  ],
  [
    'no security context',
    (pod) => {
      delete sidecarOf(pod).securityContext;
    },
    'the security context that the webhook sets',
  ],
  [
    'a writable root',
    (pod) => {
      sidecarOf(pod).securityContext!.readOnlyRootFilesystem = false;
    },
    'the security context that the webhook sets',
  ],
  [
    'privilege escalation',
    (pod) => {
      sidecarOf(pod).securityContext!.allowPrivilegeEscalation = true;
    },
    'the security context that the webhook sets',
  ],
  [
    'a capability',
    (pod) => {
      sidecarOf(pod).securityContext!.capabilities!.add = ['NET_BIND_SERVICE'];
    },
    'the security context that the webhook sets',
  ],
  [
    'capabilities that are not dropped',
    (pod) => {
      sidecarOf(pod).securityContext!.capabilities = {};
    },
    'the security context that the webhook sets',
  ],
  [
    'an init container that ends',
    (pod) => {
      delete sidecarOf(pod).restartPolicy;
      delete sidecarOf(pod).lifecycle;
    },
    'restartPolicy Always',
  ],
  [
    'a mount over its program',
    (pod) => {
      pod.spec.volumes.push({ name: 'mine', configMap: { name: 'mine' } });
      sidecarOf(pod).volumeMounts!.push({ name: 'mine', mountPath: '/sidekey' });
    },
    'another mount could replace its program',
  ],
  [
    'its private files out of a volume of the agent',
    (pod) => {
      pod.spec.volumes.push({ name: 'mine', emptyDir: {} });
      sidecarOf(pod).volumeMounts![1]!.name = 'mine';
    },
    'another mount could replace its program',
  ],
  [
    'a termination message over its program',
    (pod) => {
      sidecarOf(pod).terminationMessagePath = '/sidekey/sidecar.mjs';
    },
    'another mount could replace its program',
  ],
  [
    'a part of a volume',
    (pod) => {
      sidecarOf(pod).volumeMounts![1]!.subPath = 'a';
    },
    'another mount could replace its program',
  ],
  [
    'a regular container with its name',
    (pod) => {
      pod.spec.initContainers = [];
      pod.spec.volumes = [];
      pod.spec.containers[0] = { name: 'sidekey', image: IMAGE };
    },
    'the names sidekey and sidekey-redirect are for init containers',
  ],
  [
    'a redirect container with more capabilities',
    (pod) => {
      pod.spec.initContainers[0]!.securityContext!.capabilities!.add = ['NET_ADMIN', 'NET_RAW'];
    },
    'no capability but NET_ADMIN',
  ],
  [
    'a redirect container with an environment',
    (pod) => {
      pod.spec.initContainers[0]!.env = [{ name: 'LD_PRELOAD', value: '/x' }];
    },
    'must be as the webhook makes it',
  ],
  [
    'a redirect container with another command',
    (pod) => {
      pod.spec.initContainers[0]!.command = ['/usr/local/bin/node', '-e', 'steal()'];
    },
    'nft with one ruleset',
  ],
  [
    'a redirect container that stays',
    (pod) => {
      pod.spec.initContainers[0]!.restartPolicy = 'Always';
    },
    'must be as the webhook makes it',
  ],
  [
    'a token in a pod for Windows, which the webhook would leave as it is',
    (pod) => {
      pod.spec.nodeSelector = { 'kubernetes.io/os': 'windows' };
    },
    'the webhook leaves out pods for Windows',
  ],
];

test.for(SIDECAR_HOLES)('only the genuine sidecar has the token: %s is refused', async ([, change, words]) => {
  const pod = genuine();
  change(pod);
  expect(await create(pod)).toMatch(deniedBy('sidecar', words));
});

test('what does not touch the sidecar may be changed', async () => {
  const pod = genuine();
  pod.spec.initContainers.push({
    name: 'setup',
    image: 'x',
    command: ['sh'],
    env: [{ name: 'NODE_OPTIONS', value: '-r x' }],
  });
  pod.spec.volumes.push(
    { name: 'other', projected: { sources: [{ serviceAccountToken: { audience: 'vault', path: 't' } }] } },
    { name: 'config', configMap: { name: 'mine' } },
  );
  agentOf(pod).volumeMounts!.push({ name: 'other', mountPath: '/vault' }, { name: 'config', mountPath: '/sidekey' });
  agentOf(pod).lifecycle = { preStop: { exec: { command: ['true'] } } };
  sidecarOf(pod).image = `sidekey.test/sidekey@sha256:${'b'.repeat(64)}`;
  sidecarOf(pod).resources = { limits: { memory: '128Mi' } };
  expect(await create(pod)).toBe('allowed');
});

test('a pod of more than 4,000 lines is judged within the cost that the API server allows', async () => {
  const pod = genuine();
  const many = <T>(count: number, make: (index: number) => T) =>
    Array.from({ length: count }, (_, index) => make(index));
  pod.spec.volumes.push(...many(60, (v) => ({ name: `v${v}`, configMap: { name: `c${v}` } })));
  const env = many(40, (e) => ({ name: `E${e}`, value: 'x' }));
  const volumeMounts = many(20, (m) => ({ name: `v${m}`, mountPath: `/m${m}` }));
  pod.spec.containers.push(...many(30, (c) => ({ name: `c${c}`, image: 'x', env, volumeMounts })));
  expect(JSON.stringify(pod, null, 2).split('\n').length).toBeGreaterThan(4000);
  expect(await create(pod)).toBe('allowed');
});

const ISOLATION_HOLES: Hole[] = [
  [
    'hostPID',
    (pod) => {
      pod.spec.hostPID = true;
    },
    'must not set hostPID',
  ],
  [
    'hostNetwork',
    (pod) => {
      pod.spec.hostNetwork = true;
    },
    'must not set hostNetwork',
  ],
  [
    'hostIPC',
    (pod) => {
      pod.spec.hostIPC = true;
    },
    'must not set hostIPC',
  ],
  [
    'shareProcessNamespace',
    (pod) => {
      pod.spec.shareProcessNamespace = true;
    },
    'must not set shareProcessNamespace',
  ],
  [
    'privileged',
    (pod) => {
      agentOf(pod).securityContext = { privileged: true };
    },
    'must have no privileged container',
  ],
  [
    'a privileged init container',
    (pod) => {
      pod.spec.initContainers.push({ name: 'i', image: 'x', securityContext: { privileged: true } });
    },
    'must have no privileged container',
  ],
  [
    'SYS_PTRACE',
    (pod) => {
      agentOf(pod).securityContext = { capabilities: { add: ['SYS_PTRACE'] } };
    },
    'must not add a capability',
  ],
  // containerd takes any spelling.
  [
    'cap_sys_ptrace',
    (pod) => {
      agentOf(pod).securityContext = { capabilities: { add: ['cap_sys_ptrace'] } };
    },
    'must not add a capability',
  ],
  [
    'all capabilities',
    (pod) => {
      agentOf(pod).securityContext = { capabilities: { add: ['ALL'] } };
    },
    'must not add a capability',
  ],
  [
    "the kubelet's files",
    (pod) => {
      pod.spec.volumes.push({ name: 'h', hostPath: { path: '/var/lib/kubelet/pods' } });
    },
    'must have no hostPath volume',
  ],
  [
    'the files of the node',
    (pod) => {
      pod.spec.volumes.push({ name: 'h', hostPath: { path: '/' } });
    },
    'must have no hostPath volume',
  ],
  [
    'our user in the agent',
    (pod) => {
      agentOf(pod).securityContext = { runAsUser: 64_000 };
    },
    'the user 64000 is for the sidekey container alone',
  ],
  [
    'our user in an init container',
    (pod) => {
      pod.spec.initContainers.push({ name: 'i', image: 'x', securityContext: { runAsUser: 64_000 } });
    },
    'the user 64000 is for the sidekey container alone',
  ],
  [
    'our user in the whole pod',
    (pod) => {
      pod.spec.securityContext = { runAsUser: 64_000 };
    },
    'the user 64000 is for the sidekey container alone',
  ],
];

test.for(ISOLATION_HOLES)(
  'nothing in an agent pod looks into the sidecar: %s is refused, and is allowed in other pods',
  async ([, change, words]) => {
    const pod = genuine();
    change(pod);
    expect(await create(pod)).toMatch(deniedBy('isolation', words));
    const plain = plainPod('new');
    change(plain);
    expect(await create(plain)).toBe('allowed');
  },
);

test('a harmless capability and another user are allowed', async () => {
  const pod = genuine();
  agentOf(pod).securityContext = { capabilities: { add: ['NET_BIND_SERVICE', 'CHOWN'] }, runAsUser: 1000 };
  expect(await create(pod)).toBe('allowed');
});

test('a mirror of a static pod, which the webhook leaves as it is too, gets no token: the API server itself sees to it', async () => {
  const pod = genuine();
  pod.metadata.annotations['kubernetes.io/config.mirror'] = 'x';
  expect(await create(pod)).toMatch(/a mirror pod may not reference (service accounts|projected volume sources)/);
});

describe('tokens for our audience', () => {
  const request = (audiences: string[], pod?: { name: string; uid: string }) => ({
    spec: { audiences, ...(pod && { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', ...pod } }) },
  });
  const path = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/agent/token`;

  test('are minted for nobody but a kubelet, bound or not', async () => {
    const own = await cluster.admin.create<{ status: { token: string } }>(path, { spec: {} });
    const agent = cluster.plane.client({ token: own.status.token });
    const words = 'only a kubelet may request tokens for the audience sidekey';
    for (const client of [cluster.alice, cluster.admin, agent]) {
      expect(await outcome(client.create(path, request(['sidekey'])))).toMatch(deniedBy('token-audience', words));
      expect(await outcome(client.create(path, request(['vault', 'sidekey'])))).toMatch(
        deniedBy('token-audience', words),
      );
      expect(await outcome(client.create(path, request(['vault'])))).toBe('allowed');
    }
  });

  test('are minted for a kubelet, for the pod that it runs', async () => {
    await cluster.admin.create('/api/v1/nodes', { metadata: { name: 'n1' } });
    const pod = genuine('on-node');
    pod.spec.nodeName = 'n1';
    const { metadata } = await cluster.admin.create<AgentPod>(podsIn(NAMESPACE), pod);
    const kubelet = cluster.plane.client({ name: 'system:node:n1', groups: ['system:nodes'] });
    const bound = request(['sidekey'], { name: 'on-node', uid: metadata.uid! });
    expect(await outcome(retried(() => kubelet.create(path, bound)))).toBe('allowed');
    expect(await outcome(kubelet.create(path, request(['sidekey'])))).toMatch(/not bound to a pod/);
  });
});

describe('exec and attach', () => {
  beforeAll(async () => {
    const pod = genuine('busy');
    pod.metadata.annotations['kubectl.kubernetes.io/default-container'] = 'sidekey';
    await cluster.admin.create(podsIn(NAMESPACE), pod);
  });
  const connect = (what: string) => outcome(cluster.alice.create(`${podsIn(NAMESPACE)}/busy/${what}`, {}));
  /** The API server has let it through, and found that the pod runs nowhere. */
  const LET_THROUGH = /does not have a host assigned/;

  test.for([
    'exec?container=sidekey&command=sh',
    'exec?container=sidekey-redirect&command=sh',
    'attach?container=sidekey',
  ])('%s is refused', async (what) => {
    const container = /container=([a-z-]+)/.exec(what)![1]!;
    expect(await connect(what)).toMatch(deniedBy('exec', `no exec and no attach into container ${container}`));
  });

  test.for(['exec?container=agent&command=sh', 'exec?command=sh', 'attach?container=agent', 'attach'])(
    '%s is allowed',
    async (what) => {
      expect(await connect(what)).toMatch(LET_THROUGH);
    },
  );

  test('the annotation for the default container leads nowhere', async () => {
    const { stderr } = await cluster.plane.kubectl(['exec', '-n', NAMESPACE, 'busy', '--', 'sh'], {
      user: { name: 'alice' },
    });
    expect(stderr).toMatch(/no exec and no attach into container sidekey/);
  });
});

describe('ephemeral containers', () => {
  beforeAll(() => cluster.admin.create(podsIn(NAMESPACE), genuine('debugged')));
  const add = (container: Partial<V1EphemeralContainer>) => {
    const ephemeralContainers = [{ name: 'debug', image: 'busybox', ...container }];
    const path = `${podsIn(NAMESPACE)}/debugged/ephemeralcontainers`;
    return outcome(cluster.alice.patch(path, { spec: { ephemeralContainers } }, 'strategic', DRY));
  };

  test.for<[string, Partial<V1EphemeralContainer>, string]>([
    ['the token', { volumeMounts: [TOKEN] }, 'may not mount the token'],
    [
      'the private volume',
      { volumeMounts: [{ name: 'sidekey-private', mountPath: '/p' }] },
      'may not mount the token or the private volume',
    ],
    [
      'what the agent trusts, to write',
      { volumeMounts: [{ name: 'sidekey-public', mountPath: '/p' }] },
      'must mount the volume sidekey-public with readOnly',
    ],
    ['the processes of the sidecar', { targetContainerName: 'sidekey' }, 'may not target the sidekey container'],
    ['our user', { securityContext: { runAsUser: 64_000 } }, 'may not run as user 64000'],
    ['privileged', { securityContext: { privileged: true } }, 'may be neither privileged'],
    [
      'SYS_PTRACE',
      { securityContext: { capabilities: { add: ['SYS_PTRACE'] } } },
      'may be neither privileged nor have a capability',
    ],
    [
      'sys_admin',
      { securityContext: { capabilities: { add: ['sys_admin'] } } },
      'may be neither privileged nor have a capability',
    ],
  ])('do not get %s', async ([, container, words]) => {
    expect(await add(container)).toMatch(deniedBy('ephemeral-containers', words));
  });

  test('beside the agent they are allowed', async () => {
    const volumeMounts = [{ name: 'sidekey-public', mountPath: '/public', readOnly: true }];
    expect(await add({ targetContainerName: 'agent', volumeMounts, securityContext: { runAsUser: 1000 } })).toBe(
      'allowed',
    );
  });
});

describe('the namespaces of the control plane and of the release', () => {
  test('are left alone, so that neither can lock itself out', async () => {
    const odd = plainPod('new');
    odd.metadata.labels['sidekey.dev/inject'] = 'true';
    odd.spec.hostPID = true;
    expect(await create(odd)).toMatch(deniedBy('isolation', 'must not set hostPID'));
    for (const namespace of ['kube-system', RELEASE_NAMESPACE]) expect(await create(odd, namespace)).toBe('allowed');
    const operator = plainPod('new');
    operator.spec.volumes = genuine().spec.volumes;
    expect(await create(operator, RELEASE_NAMESPACE)).toBe('allowed');
    expect(await create(operator)).toMatch(deniedBy('sidecar', 'belongs in pods labelled'));
  });

  test('differ from one that the webhook leaves out: there nobody gets a token', async () => {
    expect(await create(genuine(), EXCLUDED_NAMESPACE)).toMatch(
      deniedBy('sidecar', 'this namespace is left out by the webhook (webhook.excludedNamespaces)'),
    );
    expect(await create(plainPod('new'), EXCLUDED_NAMESPACE)).toBe('allowed');
  });

  test('cannot be feigned by a label', async () => {
    const path = `/api/v1/namespaces/${NAMESPACE}`;
    const feigned = { metadata: { labels: { 'kubernetes.io/metadata.name': 'kube-system' } } };
    const patched = await cluster.admin.patch<AgentPod>(path, feigned, 'merge');
    expect(patched.metadata.labels['kubernetes.io/metadata.name']).toBe(NAMESPACE);
  });
});

/** The node authorizer learns of a new pod within moments. */
async function retried<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = 20; ; left -= 1) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
