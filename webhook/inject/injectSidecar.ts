import type { V1Container, V1Pod } from '@kubernetes/client-node';
import { INJECT_LABEL, podSubject, REDIRECT_CONTAINER, SIDECAR_CONTAINER, STATUS_ANNOTATION } from '../../api/pods.ts';
import { errorCode, errorText } from '../../lib/errors.ts';
import { WEBHOOK_ERRORS, type WebhookErrorCode } from '../errors.ts';
import { agentVariables } from './agentVariables.ts';
import { type Capture, captureOf } from './capture.ts';
import { leftOut } from './leftOut.ts';
import { integrationsFor, outlook } from './outlook.ts';
import { withGivenResources } from './ownResources.ts';
import { redirectContainer } from './redirectContainer.ts';
import type { InjectSettings } from './settings.ts';
import { sidecarContainer } from './sidecarContainer.ts';
import { withOurVolumes, withPublicMount } from './volumes.ts';
import { Warnings } from './warnings.ts';

/**
 * What becomes of a pod. `skip`: it is none for a sidecar and runs without, and without credentials; `pod` says so where it asked for one.
 * `refuse`: it must not run, because it asked for a sidecar and cannot have one safely.
 */
export type Injection =
  | { pod: V1Pod; warnings: string[] }
  | { skip: WebhookErrorCode; reason: string; pod: V1Pod }
  | { refuse: WebhookErrorCode; reason: string };

const OWN_CONTAINERS = [SIDECAR_CONTAINER, REDIRECT_CONTAINER];

/**
 * A pod with its sidecar. Pure, and the same when done again: containers, volumes, mounts and variables of ours that are there already,
 * in clones of injected pods for one, are replaced and never trusted.
 */
export function injectSidecar(pod: V1Pod, settings: InjectSettings): Injection {
  const { annotations = {}, labels = {} } = pod.metadata ?? {};
  if (labels[INJECT_LABEL] !== 'true') return skipped(pod, 'NotLabelled');
  const out = leftOut(pod);
  if (out !== undefined) return skipped(pod, out);
  if (pod.spec?.hostNetwork === true) return refused('HostNetworkRefused');
  try {
    return injected(pod, settings, captureOf(annotations, settings.egress));
  } catch (error) {
    const code = errorCode(error);
    if (code !== undefined && code in WEBHOOK_ERRORS) return refused(code as WebhookErrorCode, errorText(error));
    throw error;
  }
}

function injected(pod: V1Pod, settings: InjectSettings, capture: Capture): Injection {
  const spec = pod.spec!;
  const warnings = new Warnings();
  const subject = {
    ...podSubject(pod.metadata?.labels),
    serviceAccount: spec.serviceAccountName ?? 'default',
  };
  const granted = integrationsFor(settings.objects, subject);
  for (const text of outlook(settings.objects, subject, granted)) warnings.ofPod(text);
  const input = { capture, clusterDomain: settings.clusterDomain, objects: settings.objects, granted, warnings };
  const agent = (container: V1Container): V1Container => {
    const mounted = withPublicMount(container);
    return { ...mounted, env: agentVariables(mounted, input) };
  };
  const ours = [
    sidecarContainer(settings, capture),
    ...(capture.mode === 'transparent' ? [redirectContainer(settings, capture.ports)] : []),
  ].map((container) => withGivenResources(container, spec.initContainers));
  return {
    pod: {
      ...withStatus(pod, 'injected'),
      spec: {
        ...spec,
        initContainers: [...ours, ...usersOf(spec.initContainers).map(agent)],
        containers: usersOf(spec.containers).map(agent),
        volumes: withOurVolumes(spec.volumes),
      },
    },
    warnings: warnings.list(),
  };
}

function usersOf(containers: readonly V1Container[] = []): V1Container[] {
  return containers.filter(({ name }) => !OWN_CONTAINERS.includes(name));
}

function skipped(pod: V1Pod, code: WebhookErrorCode): Injection {
  const reason = WEBHOOK_ERRORS[code].help;
  return { skip: code, reason, pod: code === 'Windows' ? withStatus(pod, `skipped: ${code}`) : pod };
}

function refused(code: WebhookErrorCode, reason: string = WEBHOOK_ERRORS[code].help): Injection {
  return { refuse: code, reason };
}

function withStatus(pod: V1Pod, status: string): V1Pod {
  const { annotations, ...metadata } = pod.metadata ?? {};
  return { ...pod, metadata: { ...metadata, annotations: { ...annotations, [STATUS_ANNOTATION]: status } } };
}
