import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseAllDocuments } from 'yaml';
import { type KubeClient, KubeError } from '../../lib/kube/client.ts';
import type { ClusterUser } from '../cluster/authority.ts';
import type { ControlPlane } from '../cluster/controlPlane.ts';
import { helm } from '../cluster/kubectl.ts';
import { startWithCrds } from '../crds/withCrds.ts';

const CHART = join(import.meta.dirname, '..', '..', 'charts', 'sidekey');
export const RELEASE_NAMESPACE = 'sidekey-system';
/** As in the goldens of the webhook. */
export const IMAGE = `sidekey.test/sidekey@sha256:${'0'.repeat(64)}`;
export const STORE_URL = `https://sidekey-store.${RELEASE_NAMESPACE}.svc:8443`;
export const NAMESPACE = 'agents';
/** That the webhook is told to leave out. */
export const EXCLUDED_NAMESPACE = 'excluded';

/** May do everything in the namespace `agents` that a developer does, but not read Secrets, and use no Credential. */
export const ALICE: ClusterUser = { name: 'alice' };
/** As alice; may also get the Secrets `openai`, `crm`, `gh`, `aws` and `vault-ca`, and use the Credential `openai-key`. */
export const BOB: ClusterUser = { name: 'bob' };

interface PolicyObject {
  kind: string;
  metadata: { name: string };
}

export interface Governed {
  plane: ControlPlane;
  admin: KubeClient;
  alice: KubeClient;
  bob: KubeClient;
}

/** An API server with the CRDs and the policies in force, a namespace for agents, and people. */
export async function startWithPolicies(): Promise<Governed> {
  const plane = await startWithCrds(NAMESPACE, 'platform', EXCLUDED_NAMESPACE, RELEASE_NAMESPACE);
  const admin = plane.client();
  for (const namespace of [NAMESPACE, EXCLUDED_NAMESPACE, RELEASE_NAMESPACE, 'kube-system'])
    for (const name of ['default', 'agent'])
      await admin.create(`/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name } });
  for (const role of ROLES) await grant(admin, role);
  for (const object of await renderPolicies()) {
    const plural = `${object.kind.toLowerCase().replace(/y$/, 'ie')}s`;
    await admin.apply(`/apis/admissionregistration.k8s.io/v1/${plural}/${object.metadata.name}`, object, 'test');
  }
  await inForce(admin);
  return { plane, admin, alice: plane.client(ALICE), bob: plane.client(BOB) };
}

/** The policies and their bindings as helm renders them. */
export async function renderPolicies(): Promise<PolicyObject[]> {
  const cacheDir = mkdtempSync(join(tmpdir(), 'sidekey-helm-'));
  try {
    const [repository, digest] = IMAGE.split('@');
    const { code, stderr, stdout } = await helm(
      [
        ...['template', 'sidekey', CHART, '--namespace', RELEASE_NAMESPACE],
        ...[
          '--set',
          `image.repository=${repository},image.digest=${digest},webhook.excludedNamespaces={${EXCLUDED_NAMESPACE}}`,
        ],
      ],
      { kubeconfigFile: '', cacheDir },
    );
    if (code !== 0) throw new Error(`helm: ${stderr}`);
    return parseAllDocuments(stdout)
      .map((document) => document.toJS() as PolicyObject | null)
      .filter((object) => object !== null)
      .filter(({ kind }) => kind.startsWith('ValidatingAdmissionPolicy'));
  } finally {
    rmSync(cacheDir, { recursive: true });
  }
}

/** `allowed`, or what the API server said. */
export async function outcome(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
  } catch (error) {
    if (error instanceof KubeError && error.status !== 0) return error.serverMessage;
    throw error;
  }
  return 'allowed';
}

interface Grant {
  namespace: string;
  name: string;
  users: string[];
  rules: { apiGroups: string[]; resources: string[]; resourceNames?: string[]; verbs: string[] }[];
}

const ROLES: Grant[] = [
  {
    namespace: NAMESPACE,
    name: 'developer',
    users: ['alice', 'bob', `system:serviceaccount:${NAMESPACE}:agent`],
    rules: [
      {
        apiGroups: ['sidekey.dev'],
        resources: ['credentials', 'integrations'],
        verbs: ['get', 'create', 'update', 'patch'],
      },
      { apiGroups: ['apps', 'batch'], resources: ['*'], verbs: ['*'] },
      {
        apiGroups: [''],
        resources: [
          ...['pods', 'pods/status', 'pods/exec', 'pods/attach', 'pods/ephemeralcontainers', 'serviceaccounts/token'],
          ...['replicationcontrollers', 'events', 'bindings', 'pods/binding'],
        ],
        verbs: ['*'],
      },
    ],
  },
  {
    namespace: NAMESPACE,
    name: 'owner',
    users: ['bob'],
    rules: [
      {
        apiGroups: [''],
        resources: ['secrets'],
        resourceNames: ['openai', 'crm', 'gh', 'aws', 'vault-ca'],
        verbs: ['get'],
      },
      { apiGroups: ['sidekey.dev'], resources: ['credentials'], resourceNames: ['openai-key'], verbs: ['use'] },
    ],
  },
  {
    namespace: 'platform',
    name: 'consumer',
    users: ['bob'],
    rules: [{ apiGroups: ['sidekey.dev'], resources: ['credentials'], resourceNames: ['shared'], verbs: ['use'] }],
  },
];

async function grant(admin: KubeClient, { name, namespace, rules, users }: Grant): Promise<void> {
  const path = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}`;
  await admin.create(`${path}/roles`, { metadata: { name }, rules });
  await admin.create(`${path}/rolebindings`, {
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
    subjects: users.map((user) => ({ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user })),
  });
}

/** Policies are compiled about once a second; the last one applied is in force when all are. */
async function inForce(admin: KubeClient): Promise<void> {
  const untilMs = performance.now() + 20_000;
  const forged = {
    metadata: { name: 'canary', labels: { 'sidekey.dev/inject': 'true' } },
    spec: { containers: [{ name: 'sidekey', image: 'x' }], hostPID: true },
  };
  const attempts: [string, () => Promise<unknown>][] = [
    [
      'sidecar',
      () =>
        admin.create(
          `/api/v1/namespaces/${NAMESPACE}/pods`,
          { ...forged, spec: { ...forged.spec, hostPID: false } },
          { dryRun: 'All' },
        ),
    ],
    [
      'isolation',
      () =>
        admin.create(
          `/api/v1/namespaces/${NAMESPACE}/pods`,
          { ...forged, spec: { ...forged.spec, containers: [{ name: 'a', image: 'x' }] } },
          { dryRun: 'All' },
        ),
    ],
    [
      'token-audience',
      () =>
        admin.create(`/api/v1/namespaces/${NAMESPACE}/serviceaccounts/agent/token`, {
          spec: { audiences: ['sidekey'] },
        }),
    ],
  ];
  for (const [policy, attempt] of attempts)
    while (!(await outcome(attempt())).includes(`'sidekey-${policy}'`)) {
      if (performance.now() > untilMs) throw new Error(`the policy ${policy} is not in force`);
      await delay(100);
    }
}
