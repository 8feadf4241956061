import { X509Certificate } from 'node:crypto';
import { INJECT_LABEL } from '../../../api/pods.ts';
import { KubeError } from '../../../lib/kube/client.ts';
import { type Pod, sidecarOf } from '../access.ts';
import type { Check, Finding } from '../finding.ts';
import { labelsOf, RELEASE_LABELS } from '../labels.ts';
import { webhookConfigurations } from '../webhookConfigurations.ts';

const DAY_MS = 86_400_000;
const SOON_DAYS = 7;
const ADMISSION = '/apis/admissionregistration.k8s.io/v1';
/** By which cert-manager is told to write the CA, and from which certificate. */
const INJECT_CA_ANNOTATION = 'cert-manager.io/inject-ca-from';

/** The API server can verify the webhook, by a CA that does not end soon. */
export const webhookCa: Check = async ({ access, namespace, nowMs }) => {
  const items = await webhookConfigurations(access);
  if (items.length === 0)
    return [
      {
        check: 'webhook CA',
        state: 'failed',
        message: 'there is no MutatingWebhookConfiguration of Sidekey',
        next: 'pods get no sidecar without it; helm upgrade makes it anew',
      },
    ];
  return items.flatMap(({ metadata, webhooks = [] }) =>
    webhooks.map((webhook): Finding => {
      const check = 'webhook CA';
      const writer = caWriter(metadata.annotations?.[INJECT_CA_ANNOTATION], namespace);
      const where = `${metadata.name}/${webhook.name}`;
      const bundle = Buffer.from(webhook.clientConfig.caBundle ?? '', 'base64').toString('latin1');
      const pems = bundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
      if (pems.length === 0)
        return {
          check,
          state: 'failed',
          message: `${where} has no caBundle yet, so labelled pods wait`,
          next: `${writer.who} writes it: ${writer.look}`,
        };
      const endMs = Math.max(...pems.map((pem) => Date.parse(new X509Certificate(pem).validTo)));
      const days = Math.floor((endMs - nowMs) / DAY_MS);
      if (days < SOON_DAYS)
        return {
          check,
          state: days < 0 ? 'failed' : 'warning',
          message: `the CA of ${where} ${days < 0 ? 'has ended' : `ends in ${days} days`}`,
          next: `${writer.who} should have replaced it: ${writer.look}`,
        };
      return { check, state: 'ok', message: `${where}: valid for ${days} more days` };
    }),
  );
};

/** Who keeps the CA, and where that one says why it does not. */
function caWriter(injectFrom: string | undefined, namespace: string): { who: string; look: string } {
  const [of, certificate] = injectFrom?.split('/') ?? [];
  return certificate === undefined
    ? { who: "the operator's leader", look: `kubectl -n ${namespace} logs -l ${labelsOf('operator')} --tail=100` }
    : { who: 'cert-manager', look: `kubectl -n ${of} describe certificates.cert-manager.io ${certificate}` };
}

/** A labelled pod is sent through admission without being made, and must come back with its sidecar. */
export const webhookInjects: Check = async ({ access, agents }) => {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { generateName: 'sidekey-doctor-', labels: { [INJECT_LABEL]: 'true' } },
    spec: { containers: [{ name: 'agent', image: 'example.com/agent' }] },
  };
  const path = `/api/v1/namespaces/${agents}/pods`;
  try {
    const made = await access.client.create<Pod>(path, pod, { dryRun: 'All' });
    return [
      sidecarOf(made) !== undefined
        ? { check: 'injection', state: 'ok', message: `a labelled pod in ${agents} would get its sidecar` }
        : {
            check: 'injection',
            state: 'failed',
            message: `a labelled pod in ${agents} would get no sidecar`,
            next: 'is that namespace left out of the webhook? choose another with -n, or see the configuration',
          },
    ];
  } catch (error) {
    if (!(error instanceof KubeError)) throw error;
    const unreachable = /failed calling webhook/.test(error.serverMessage);
    return [
      {
        check: 'injection',
        state: unreachable ? 'failed' : 'unknown',
        message: error.serverMessage || error.message,
        next: unreachable
          ? 'the API server cannot reach the webhook: is it running, and does a NetworkPolicy or firewall stand between?'
          : 'something else refuses such a pod here; try another namespace with -n',
      },
    ];
  }
};

interface Named {
  metadata: { name: string };
}
interface Binding extends Named {
  spec: { policyName: string; validationActions?: string[] };
}

/** Every admission policy denies, which without a binding it does not. */
export const policiesBound: Check = async ({ access }) => {
  const query = { labelSelector: RELEASE_LABELS };
  const { items: policies } = await access.client.list<Named>(`${ADMISSION}/validatingadmissionpolicies`, query);
  const { items: bindings } = await access.client.list<Binding>(
    `${ADMISSION}/validatingadmissionpolicybindings`,
    query,
  );
  const check = 'policies';
  if (policies.length === 0)
    return [
      {
        check,
        state: 'failed',
        message: 'there are no admission policies of Sidekey',
        next: 'without them whoever may make pods can take a credential of the namespace; helm upgrade makes them anew',
      },
    ];
  const loose = policies.filter(
    ({ metadata }) =>
      !bindings.some(
        ({ spec }) => spec.policyName === metadata.name && spec.validationActions?.includes('Deny') === true,
      ),
  );
  return [
    loose.length === 0
      ? { check, state: 'ok', message: `all ${policies.length} deny` }
      : {
          check,
          state: 'failed',
          message: `not bound with Deny: ${loose.map(({ metadata }) => metadata.name).join(', ')}`,
          next: 'helm upgrade makes the bindings anew',
        },
  ];
};
