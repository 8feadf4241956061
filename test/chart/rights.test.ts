import type { V1SubjectAccessReview } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AGENTS_NAMESPACE, Installation, serviceAccount } from './installed.ts';
import { CHART, RELEASE_NAMESPACE } from './render.ts';

const START_LIMIT_MS = 20 * 60_000;

/** `verbs resource[.group][/subresource] [name]`, in a namespace, or in the whole cluster (`*`). */
type Right = [namespace: string, what: string];

const NEEDED: Readonly<Record<'store' | 'operator' | 'webhook', Right[]>> = {
  store: [
    ['*', 'create tokenreviews.authentication.k8s.io'],
    ['*', 'get pods'],
    [RELEASE_NAMESPACE, 'create configmaps'],
    [RELEASE_NAMESPACE, 'get,patch,update configmaps sidekey-trust'],
  ],
  operator: [
    ['*', 'get,list,watch credentials.sidekey.dev'],
    ['*', 'get,list,watch integrations.sidekey.dev'],
    ['*', 'patch credentials.sidekey.dev/status'],
    ['*', 'patch integrations.sidekey.dev/status'],
    ['*', 'patch,update credentials.sidekey.dev'],
    ['*', 'get,list,watch namespaces'],
    ['*', 'get,list,watch pods'],
    ['*', 'create,patch events.events.k8s.io'],
    ['*', 'get,list,watch,patch mutatingwebhookconfigurations.admissionregistration.k8s.io sidekey'],
    [RELEASE_NAMESPACE, 'create leases.coordination.k8s.io'],
    [RELEASE_NAMESPACE, 'get,update leases.coordination.k8s.io sidekey-operator'],
    [RELEASE_NAMESPACE, 'get,list,watch configmaps sidekey-trust'],
    [RELEASE_NAMESPACE, 'create secrets'],
    [RELEASE_NAMESPACE, 'get,list,watch,patch secrets sidekey-webhook-tls'],
    [RELEASE_NAMESPACE, 'list endpointslices.discovery.k8s.io'],
    [AGENTS_NAMESPACE, 'get,list,watch secrets'],
  ],
  webhook: [
    ['*', 'get,list,watch credentials.sidekey.dev'],
    ['*', 'get,list,watch integrations.sidekey.dev'],
    [RELEASE_NAMESPACE, 'get,list,watch configmaps sidekey-trust'],
    [RELEASE_NAMESPACE, 'get,list,watch secrets sidekey-webhook-tls'],
  ],
};

/** What would let a part that was taken over take more. */
const DENIED: Readonly<Record<'store' | 'operator' | 'webhook', Right[]>> = {
  store: [
    ['*', 'get,list,watch secrets'],
    [RELEASE_NAMESPACE, 'get,list,watch secrets'],
    [RELEASE_NAMESPACE, 'get secrets sidekey-kek'],
    [RELEASE_NAMESPACE, 'get,list,update,patch,delete configmaps'],
    [RELEASE_NAMESPACE, 'delete configmaps sidekey-trust'],
    ['*', 'list,watch,create,update,patch,delete pods'],
    ['*', 'get,list credentials.sidekey.dev'],
    ['*', 'create serviceaccounts/token'],
  ],
  operator: [
    ['*', 'get,list,watch secrets'],
    ['unnamed', 'get,list,watch secrets'],
    [RELEASE_NAMESPACE, 'get,list,watch,update,patch,delete secrets'],
    [RELEASE_NAMESPACE, 'get,update,patch secrets sidekey-kek'],
    [RELEASE_NAMESPACE, 'update,delete secrets sidekey-webhook-tls'],
    [AGENTS_NAMESPACE, 'create,update,patch,delete secrets'],
    [RELEASE_NAMESPACE, 'create,update,patch,delete configmaps sidekey-trust'],
    [RELEASE_NAMESPACE, 'get,update,patch,delete leases.coordination.k8s.io'],
    ['*', 'create,delete,deletecollection credentials.sidekey.dev'],
    ['*', 'create,update,patch,delete integrations.sidekey.dev'],
    ['*', 'use credentials.sidekey.dev'],
    ['*', 'create,update,patch,delete pods'],
    ['*', 'create pods/exec'],
    ['*', 'create pods/attach'],
    ['*', 'update pods/ephemeralcontainers'],
    ['*', 'create,delete mutatingwebhookconfigurations.admissionregistration.k8s.io'],
    ['*', 'patch mutatingwebhookconfigurations.admissionregistration.k8s.io other'],
    ['*', 'patch validatingadmissionpolicies.admissionregistration.k8s.io'],
    ['*', 'create serviceaccounts/token'],
    ['*', 'create tokenreviews.authentication.k8s.io'],
    ['*', 'impersonate users'],
    ['*', 'bind,escalate clusterroles.rbac.authorization.k8s.io'],
  ],
  webhook: [
    ['*', 'get,list,watch secrets'],
    [RELEASE_NAMESPACE, 'get,list,watch secrets'],
    [RELEASE_NAMESPACE, 'create,update,patch,delete secrets sidekey-webhook-tls'],
    [RELEASE_NAMESPACE, 'get secrets sidekey-kek'],
    ['*', 'create,update,patch,delete credentials.sidekey.dev'],
    ['*', 'create,update,patch,delete integrations.sidekey.dev'],
    ['*', 'get,list,watch,create,update,patch,delete pods'],
    ['*', 'patch mutatingwebhookconfigurations.admissionregistration.k8s.io sidekey'],
    ['*', 'create serviceaccounts/token'],
  ],
};

let installation: Installation;

beforeAll(async () => {
  installation = await Installation.prepare();
  await installation.helm('install', 'sidekey', CHART, '--set', `namespaces={${AGENTS_NAMESPACE}}`);
}, START_LIMIT_MS);
afterAll(() => installation?.plane.stop());

describe.each(['store', 'operator', 'webhook'] as const)('the ServiceAccount of %s', (part) => {
  test.each(NEEDED[part])('may, in %s: %s', async (namespace, what) => {
    expect(await verdicts(part, namespace, what)).toSatisfy((all: boolean[]) => all.every(Boolean));
  });

  test.each(DENIED[part])('may not, in %s: %s', async (namespace, what) => {
    expect(await verdicts(part, namespace, what)).not.toContain(true);
  });

  test('has rights on nothing besides what is listed here', async () => {
    const { stdout } = await installation.plane.kubectl([
      ...['auth', 'can-i', '--list', '--namespace', RELEASE_NAMESPACE],
      ...[`--as=${serviceAccount(part).name}`, '--as-group=system:nobody'],
    ]);
    const resources = stdout
      .split('\n')
      .slice(1)
      .flatMap((line) => /^[a-z][^ ]*/.exec(line)?.[0] ?? [])
      // Everybody may ask who they are and what they may do.
      .filter((resource) => !/^self.*reviews\./.test(resource));
    expect(new Set(resources)).toEqual(
      new Set(NEEDED[part].filter(([where]) => where !== AGENTS_NAMESPACE).map(([, what]) => what.split(' ')[1])),
    );
  });
});

test('with scope Cluster the operator reads Secrets everywhere, and does no more with them', async () => {
  await installation.helm('upgrade', 'sidekey', CHART, '--set', 'scope=Cluster');
  expect(await verdicts('operator', 'unnamed', 'get,list,watch secrets')).toEqual([true, true, true]);
  expect(await verdicts('operator', '*', 'create,update,patch,delete secrets')).not.toContain(true);
});

test('with cert-manager the operator has nothing to do with Secrets of the release and the CA of the webhook', async () => {
  // What cert-manager would serve is not here: the rest of the chart is what counts.
  const { stdout } = await installation.helm('template', 'sidekey', CHART, '--set', 'certManager.enabled=true');
  const roles = stdout
    .split(/^---\n/m)
    .filter((text) => /\nkind: (Cluster)?Role\n[\s\S]*name: sidekey-operator\n/.test(text));
  expect(roles).toHaveLength(2);
  for (const role of roles) expect(role).not.toMatch(/secrets|mutatingwebhookconfigurations/);
});

test.each([
  ['view', 'get,list,watch', true],
  ['view', 'create,update,patch,delete', false],
  ['edit', 'create,update,patch,delete', true],
  ['edit', 'use', false],
  ['use', 'use', true],
  ['use', 'get,create', false],
])('the role %s for people: %s is %s', async (role, verbs, expected) => {
  const user = `user-of-${role}`;
  await installation.plane.client().apply(
    `/apis/rbac.authorization.k8s.io/v1/namespaces/${AGENTS_NAMESPACE}/rolebindings/${user}`,
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: user, namespace: AGENTS_NAMESPACE },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: `sidekey-${role}` },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }],
    },
    'test',
  );
  // The authorizer hears of bindings by a watch.
  await expect
    .poll(() => reviewed({ name: user, groups: [] }, AGENTS_NAMESPACE, `${verbs} credentials.sidekey.dev`))
    .toEqual(verbs.split(',').map(() => expected));
});

function verdicts(part: string, namespace: string, what: string): Promise<boolean[]> {
  return reviewed(serviceAccount(part), namespace, what);
}

/** Whether each of the verbs is allowed. */
function reviewed(
  { groups, name: user }: { name: string; groups: string[] },
  namespace: string,
  what: string,
): Promise<boolean[]> {
  const [verbs, resources, name] = what.split(' ') as [string, string, string?];
  const [, resource, group, subresource] = /^([^./]+)(?:\.([^/]+))?(?:\/(.+))?$/.exec(resources)!;
  return Promise.all(
    verbs.split(',').map(async (verb) => {
      const { status } = await installation.plane
        .client()
        .create<V1SubjectAccessReview>('/apis/authorization.k8s.io/v1/subjectaccessreviews', {
          spec: {
            user,
            groups: [...groups, 'system:authenticated'],
            resourceAttributes: {
              ...(namespace !== '*' && { namespace }),
              verb,
              group: group ?? '',
              resource,
              subresource,
              name,
            },
          },
        });
      return status?.allowed ?? false;
    }),
  );
}
