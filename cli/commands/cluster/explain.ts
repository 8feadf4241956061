import { EGRESS_ANNOTATION, INJECT_LABEL, podSubject, SIDECAR_CONTAINER, SIDECAR_ENV } from '../../../api/pods.ts';
import { type Access, isLiving, type Pod, sidecarOf, told } from '../../cluster/access.ts';
import { clusterObjects } from '../../cluster/clusterObjects.ts';
import type { Context } from '../../context.ts';
import { usageError } from '../../errors.ts';
import { objectsInForce } from '../../folderGrants.ts';
import { printable } from '../../terminal.ts';
import { checkRequest, explainFor } from '../explain.ts';

/** Says what would become of a pod's request, by the labels it has now and the decision of the sidecar itself. */
export async function clusterExplain(
  context: Context,
  access: Access,
  target: string,
  method: string,
  url: string,
  flags: { namespace?: string },
): Promise<void> {
  checkRequest(method, url);
  const [, name] = /^(?:pods?\/)?([a-z0-9][-a-z0-9.]*)$/.exec(target) ?? [];
  if (name === undefined) throw usageError(`${target} is no pod`, 'such as pod/researcher-7d9f');
  const namespace = flags.namespace ?? access.namespace;
  const pod = await told(() => access.client.get<Pod>(`/api/v1/namespaces/${namespace}/pods/${name}`));
  for (const problem of problemsOf(pod)) context.warn(problem);
  const { labels } = pod.metadata;
  explainFor(context, objectsInForce(await clusterObjects(access, namespace)), {
    method,
    url,
    subject: { namespace, serviceAccount: pod.spec.serviceAccountName ?? 'default', ...podSubject(labels) },
    egress: egressOf(context, pod),
  });
}

/** What its sidecar was made with: the chart has a default, and an annotation may have been changed since. */
function egressOf(context: Context, pod: Pod): 'Open' | 'Closed' {
  const said = pod.metadata.annotations?.[EGRESS_ANNOTATION];
  const sidecar = sidecarOf(pod);
  if (sidecar === undefined) {
    const egress = said === 'Closed' ? 'Closed' : 'Open';
    context.warn(
      said === undefined
        ? `egress is taken to be ${egress}: there is neither a sidecar nor the annotation ${EGRESS_ANNOTATION} to say otherwise, and the chart's sidecar.egress may`
        : `egress is taken to be ${egress}, as the annotation ${EGRESS_ANNOTATION} says; there is no sidecar to say what is in force`,
    );
    return egress;
  }
  const egress = sidecar.env?.find(({ name }) => name === SIDECAR_ENV.egress)?.value === 'Closed' ? 'Closed' : 'Open';
  if (said !== undefined && said !== egress)
    context.warn(
      `the annotation ${EGRESS_ANNOTATION} says ${printable(said)}, but the sidecar was made with ${egress}, which is in force until the pod is made anew`,
    );
  return egress;
}

/** Why the sidecar may never see the request. */
function problemsOf(pod: Pod): string[] {
  const { metadata, status } = pod;
  const problems: string[] = [];
  if (metadata.labels?.[INJECT_LABEL] !== 'true')
    problems.push(`the pod has no label ${INJECT_LABEL}=true, so it has no sidecar; set it where its template is`);
  else if (sidecarOf(pod) === undefined)
    problems.push(
      'the pod has the label but no sidecar: it was made before the label was set; delete it to have it made anew',
    );
  if (!isLiving(pod)) problems.push(`the pod has ended (${status?.phase})`);
  const sidecar = status?.initContainerStatuses?.find(({ name }) => name === SIDECAR_CONTAINER);
  if (sidecar !== undefined && !sidecar.ready && status?.phase === 'Running')
    problems.push(
      `its sidecar is not ready; see kubectl -n ${metadata.namespace} logs ${metadata.name} -c ${SIDECAR_CONTAINER}`,
    );
  return problems;
}
