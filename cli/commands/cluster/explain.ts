import { EGRESS_ANNOTATION, INJECT_LABEL, podSubject, SIDECAR_CONTAINER } from '../../../api/pods.ts';
import { type Access, type Pod, told } from '../../cluster/access.ts';
import { clusterObjects } from '../../cluster/clusterObjects.ts';
import type { Context } from '../../context.ts';
import { usageError } from '../../errors.ts';
import { objectsInForce } from '../../folderGrants.ts';
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
  const { annotations = {}, labels } = pod.metadata;
  explainFor(context, objectsInForce(await clusterObjects(access, namespace)), {
    method,
    url,
    subject: { namespace, serviceAccount: pod.spec.serviceAccountName ?? 'default', ...podSubject(labels) },
    egress: annotations[EGRESS_ANNOTATION] === 'Closed' ? 'Closed' : 'Open',
  });
}

/** Why the sidecar may never see the request. */
function problemsOf({ metadata, spec, status }: Pod): string[] {
  const problems: string[] = [];
  if (metadata.labels?.[INJECT_LABEL] !== 'true')
    problems.push(`the pod has no label ${INJECT_LABEL}=true, so it has no sidecar; set it where its template is`);
  else if (!spec.initContainers?.some((container) => container.name === SIDECAR_CONTAINER))
    problems.push(
      'the pod has the label but no sidecar: it was made before the label was set; delete it to have it made anew',
    );
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') problems.push(`the pod has ended (${status.phase})`);
  const sidecar = status?.initContainerStatuses?.find(({ name }) => name === SIDECAR_CONTAINER);
  if (sidecar !== undefined && !sidecar.ready && status?.phase === 'Running')
    problems.push(
      `its sidecar is not ready; see kubectl -n ${metadata.namespace} logs ${metadata.name} -c ${SIDECAR_CONTAINER}`,
    );
  return problems;
}
