import type { KekStatus } from '../../../api/kek.ts';
import { errorText } from '../../../lib/errors.ts';
import { KubeError } from '../../../lib/kube/client.ts';
import { unsealing } from '../../render/sealed.ts';
import { type Access, isReady, type Pod } from '../access.ts';
import { askKek } from '../askKek.ts';
import type { Check, Finding } from '../finding.ts';
import { COMPONENTS, type Component, componentOf } from '../labels.ts';

/** What `/readyz` of any part may say. */
interface Readiness {
  sealed?: KekStatus['sealed'];
  degraded?: string[];
  [state: string]: unknown;
}

interface Trouble {
  why: string;
  next?: string;
}

/** Each part answers; one that does not says why (a store: that it is sealed). */
export const partsReady: Check = async ({ access, namespace, pods }) =>
  Promise.all(
    COMPONENTS.map(async (component): Promise<Finding> => {
      const own = pods.filter((pod) => componentOf(pod) === component);
      const ready = own.filter(isReady);
      const message = `${ready.length} of ${own.length} ready`;
      if (own.length > 0 && ready.length === own.length) return { check: component, state: 'ok', message };
      const state = ready.length > 0 ? 'warning' : 'failed';
      const unready = own.find((pod) => !isReady(pod));
      if (unready === undefined) {
        const next = `nothing of it runs; see kubectl -n ${namespace} get deployments,statefulsets`;
        return { check: component, state, message, next };
      }
      const { name } = unready.metadata;
      const { next = `kubectl -n ${namespace} logs ${name}`, why } = await troubleOf(access, component, unready);
      return { check: component, state, message: `${message}: ${name}: ${why}`, next };
    }),
  );

/**
 * A store is asked as its owner asks it, which needs no port of it: a NetworkPolicy may keep the API server from that of metrics.
 * Who may not do that, and the other parts, are asked through the API server.
 */
async function troubleOf(access: Access, component: Component, pod: Pod): Promise<Trouble> {
  if (component === 'store' && pod.status?.phase === 'Running') {
    const sealed = await askKek(access, pod).then(
      (status) => status.sealed,
      () => undefined,
    );
    if (sealed !== undefined) return sealedTrouble(sealed);
  }
  try {
    const { name, namespace } = pod.metadata;
    const path = `/api/v1/namespaces/${namespace}/pods/${name}:9090/proxy/readyz`;
    return said(await access.client.get<Readiness>(path));
  } catch (error) {
    if (!(error instanceof KubeError) || error.status !== 503)
      return { why: `it cannot be asked (${errorText(error)})` };
    const { serverMessage } = error;
    const readiness = readinessIn(serverMessage);
    return readiness === undefined ? { why: serverMessage || 'it answers 503' } : said(readiness);
  }
}

function said({ degraded, ready, sealed, ...states }: Readiness): Trouble {
  if (sealed !== undefined) return sealedTrouble(sealed);
  if (degraded !== undefined && degraded.length > 0) return { why: degraded.join(', ') };
  if (ready === true) return { why: 'it is ready, and its pod not yet' };
  const missing = Object.keys(states).filter((name) => states[name] === false);
  return { why: missing.length === 0 ? 'it answers that it is not ready' : `it has no ${missing.join(', ')} yet` };
}

function sealedTrouble(sealed: NonNullable<KekStatus['sealed']>): Trouble {
  return { why: `the store is sealed (${sealed.code})`, next: unsealing(sealed) };
}

/** What a pod said, unless it is the API server that speaks. */
function readinessIn(text: string): Readiness | undefined {
  try {
    return JSON.parse(text) as Readiness;
  } catch {
    return undefined;
  }
}
