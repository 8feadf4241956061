import { VERSION } from '../../../lib/version.ts';
import { isLiving, labelledPods, sidecarOf } from '../access.ts';
import type { Check, Finding } from '../finding.ts';
import { COMPONENTS, componentOf, RELEASE_LABELS } from '../labels.ts';
import { versionOf, versionOfPart } from '../version.ts';
import { webhookConfig } from '../webhookConfig.ts';

const VERSION_LABEL = 'app.kubernetes.io/version';

/** Every replica of every part is of one version, and so is this command. */
export const versionsAlike: Check = async ({ namespace, pods }) => {
  const parts = COMPONENTS.map((component) => {
    const own = pods.filter((pod) => componentOf(pod) === component);
    return { component, versions: new Set(own.map(versionOfPart)) };
  }).filter(({ versions }) => versions.size > 0);
  const all = new Set(parts.flatMap(({ versions }) => [...versions]));
  const check = 'versions';
  const findings: Finding[] = [
    all.size <= 1
      ? { check, state: 'ok', message: `every part is ${[...all].join()}` }
      : {
          check,
          state: 'warning',
          message: parts.map(({ component, versions }) => `${component} ${[...versions].join(' and ')}`).join(', '),
          next: `an upgrade is under way or was broken off: kubectl -n ${namespace} get deployments,statefulsets -l ${RELEASE_LABELS} -o wide`,
        },
  ];
  // An image may be named by any tag, or by its digest alone.
  const releases = new Set(pods.flatMap(({ metadata }) => metadata.labels?.[VERSION_LABEL] ?? []));
  if (releases.size > 0 && !releases.has(VERSION))
    findings.push({
      check,
      state: 'warning',
      message: `this command is ${VERSION}, the parts are ${[...releases].join(' and ')}`,
      next: 'use the command of their version: what it says of them may be wrong',
    });
  return findings;
};

/** Sidecars are what the webhook injects now: an older one works, until its pod is made anew. */
export const sidecarsCurrent: Check = async ({ access, namespace }) => {
  const check = 'sidecars';
  const config = (await webhookConfig(access, namespace)) as { sidecar?: { image?: string } } | undefined;
  const image = config?.sidecar?.image;
  if (image === undefined)
    return [
      {
        check,
        state: 'unknown',
        message: `which image the webhook injects is not to be found in ${namespace}`,
        next: 'helm upgrade makes the ConfigMap of the webhook anew',
      },
    ];
  const agents = (await labelledPods(access)).filter((pod) => isLiving(pod) && sidecarOf(pod) !== undefined);
  // A registry in front may have given the image another name.
  const other = agents.filter((pod) => versionOf(sidecarOf(pod)?.image) !== versionOf(image));
  const [first] = other;
  return [
    first === undefined
      ? { check, state: 'ok', message: `all ${agents.length} are ${versionOf(image)}, which new pods get` }
      : {
          check,
          state: 'warning',
          message: `${other.length} of ${agents.length} are not ${versionOf(image)}, which new pods get: ${first.metadata.namespace}/${first.metadata.name} has ${versionOf(sidecarOf(first)?.image)}`,
          next: 'they get the new one when they are made anew: kubectl rollout restart their Deployments',
        },
  ];
};
