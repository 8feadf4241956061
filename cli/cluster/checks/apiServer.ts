import type { Check } from '../finding.ts';

/** ValidatingAdmissionPolicy is stable from there on. */
const LEAST_MINOR = 30;

export const apiServerVersion: Check = async ({ access }) => {
  const { gitVersion, major, minor } = await access.client.get<{ major: string; minor: string; gitVersion: string }>(
    '/version',
  );
  const enough = Number(major) > 1 || Number.parseInt(minor, 10) >= LEAST_MINOR;
  return [
    {
      check: 'API server',
      state: enough ? 'ok' : 'failed',
      message: `Kubernetes ${gitVersion}`,
      ...(!enough && { next: `admission policies need Kubernetes 1.${LEAST_MINOR} or newer; upgrade the cluster` }),
    },
  ];
};

interface Crd {
  metadata: { name: string };
  spec: { versions: { name: string; served: boolean }[] };
}

const KINDS = ['credentials.sidekey.dev', 'integrations.sidekey.dev'];

export const kindsInstalled: Check = async ({ access }) => {
  const { items } = await access.client.list<Crd>('/apis/apiextensions.k8s.io/v1/customresourcedefinitions');
  const missing = KINDS.filter(
    (kind) => !items.some((crd) => crd.metadata.name === kind && crd.spec.versions.some(({ served }) => served)),
  );
  return [
    missing.length === 0
      ? { check: 'kinds', state: 'ok', message: 'Credential and Integration are served' }
      : {
          check: 'kinds',
          state: 'failed',
          message: `not installed: ${missing.join(', ')}`,
          next: 'install the chart of the kinds: helm install sidekey-crds …',
        },
  ];
};
