import type { V1Pod } from '@kubernetes/client-node';
import { INJECT_LABEL, podSubject } from '../../api/pods.ts';
import type { Session } from '../../api/session.ts';

/** What is kept of a pod: there may be many thousands. */
export interface AgentPod {
  uid: string;
  subject: Pick<Session, 'role' | 'tags'>;
  /** It has run to its end (Job completion, eviction), though it may still be listed. */
  over: boolean;
}

/** Undefined where it is no pod that may have a session. One that is being deleted is alive until it is gone. */
export function agentPodOf({ metadata = {}, status = {} }: Pick<V1Pod, 'metadata' | 'status'>): AgentPod | undefined {
  const { labels = {}, uid = '' } = metadata;
  if (labels[INJECT_LABEL] !== 'true') return undefined;
  return { uid, subject: podSubject(labels), over: status.phase === 'Succeeded' || status.phase === 'Failed' };
}

export function sameSubject(a: AgentPod['subject'], b: AgentPod['subject']): boolean {
  return a.role === b.role && a.tags.length === b.tags.length && a.tags.every((tag, index) => tag === b.tags[index]);
}
