import type { V1ObjectMeta } from '@kubernetes/client-node';
import { INJECT_LABEL, REQUESTED_BY_ANNOTATION } from '../../api/pods.ts';
import { isTrustedController, type UserInfo } from './trustedController.ts';

/** A pod, or what makes pods of a template: only metadata are of interest. */
export interface Requestable {
  kind?: string;
  metadata?: V1ObjectMeta;
  spec?: { template?: Template; jobTemplate?: { spec?: { template?: Template } } };
}
interface Template {
  metadata?: V1ObjectMeta;
}

export interface RequesterInput {
  operation: 'CREATE' | 'UPDATE';
  object: Requestable;
  /** Of an UPDATE. */
  oldObject?: Requestable | undefined;
  user: UserInfo;
  /** Further users whose word is taken. */
  trustedControllers: readonly string[];
}

/**
 * The object with who asked for it (docs/adr/0023-who-requested-a-pod.md). At its creation that is who creates it; where a controller does
 * that, who asked for what it was made of, as the template says. A later edit changes nothing of it, except that who makes a template
 * an agent's is the one who asked for that. What is no agent's stays as it is.
 */
export function stampRequester<T extends Requestable>({
  object,
  oldObject,
  operation,
  trustedControllers,
  user,
}: RequesterInput & { object: T }): T {
  const after = stampedMetadata(object);
  if (operation === 'CREATE') {
    if (!labelled(after) || isTrustedController(user, trustedControllers)) return object;
    return withRequester(object, user.username);
  }
  const before = oldObject && stampedMetadata(oldObject);
  if (labelled(before)) return withRequester(object, requesterOf(before));
  return labelled(after) ? withRequester(object, user.username) : object;
}

/** Of the pod, or of the template of its pods. */
function stampedMetadata({ metadata, spec }: Requestable): V1ObjectMeta | undefined {
  const template = spec?.jobTemplate?.spec?.template ?? spec?.template;
  return template === undefined ? metadata : template.metadata;
}

function labelled(metadata: V1ObjectMeta | undefined): boolean {
  return metadata?.labels?.[INJECT_LABEL] === 'true';
}

function requesterOf(metadata: V1ObjectMeta | undefined): string | undefined {
  return metadata?.annotations?.[REQUESTED_BY_ANNOTATION];
}

function withRequester<T extends Requestable>(object: T, requester: string | undefined): T {
  const { jobTemplate, template } = object.spec ?? {};
  if (jobTemplate?.spec?.template !== undefined) {
    const stamped = stampedTemplate(jobTemplate.spec.template, requester);
    return {
      ...object,
      spec: { ...object.spec, jobTemplate: { ...jobTemplate, spec: { ...jobTemplate.spec, template: stamped } } },
    };
  }
  if (template !== undefined)
    return { ...object, spec: { ...object.spec, template: stampedTemplate(template, requester) } };
  return stampedTemplate(object, requester);
}

function stampedTemplate<T extends Template>(template: T, requester: string | undefined): T {
  if (requesterOf(template.metadata) === requester) return template;
  const { annotations = {}, ...metadata } = template.metadata ?? {};
  const { [REQUESTED_BY_ANNOTATION]: _, ...others } = annotations;
  const stamped = requester === undefined ? others : { ...others, [REQUESTED_BY_ANNOTATION]: requester };
  return { ...template, metadata: { ...metadata, ...(Object.keys(stamped).length > 0 && { annotations: stamped }) } };
}
