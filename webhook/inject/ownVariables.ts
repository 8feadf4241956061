import type { V1EnvVar } from '@kubernetes/client-node';
import { SIDECAR_PATHS } from '../../api/pods.ts';
import { CA_VARIABLES } from '../../lib/agent/caVariables.ts';
import { javaOptions } from '../../lib/agent/javaOptions.ts';
import { PROXY_URL } from './references.ts';

export const PROXY_PAIRS = [
  ['HTTP_PROXY', 'http_proxy'],
  ['HTTPS_PROXY', 'https_proxy'],
] as const;
export const BYPASS_PAIR = ['NO_PROXY', 'no_proxy'] as const;
/** Where base URLs begin; in each agent container, whatever the capture mode. */
export const URL_VARIABLE = 'SIDEKEY_URL';
/** The kubelet sets it in every container, and puts it into values that name it so. */
export const API_SERVER = '$(KUBERNETES_SERVICE_HOST)';
export const THIS_MACHINE = ['localhost', '127.0.0.1', '::1'];

const PROXY_NAMES: readonly string[] = PROXY_PAIRS.flat();
const BYPASS_NAMES: readonly string[] = BYPASS_PAIR;
const CA_NAMES: readonly string[] = CA_VARIABLES;
const JAVA_BEGIN = javaOptions({ trustStoreFile: SIDECAR_PATHS.trustStoreFile }).split(' ')[0]!;

const BYPASS_BEGIN = [...THIS_MACHINE, API_SERVER].join(',');

/**
 * A container's variables without what an earlier injection has added, so that it is decided afresh: the pod may have been cloned, with
 * another capture mode now, and what is ours must not pass for the user's. Told by values that nobody else would write.
 */
export function withoutOurs(env: readonly V1EnvVar[] = []): V1EnvVar[] {
  const last = new Map(env.map((variable) => [variable.name, variable]));
  const proxied = env.some(({ name, value }) => PROXY_NAMES.includes(name) && value === PROXY_URL);
  return env.flatMap((variable) => {
    const { name, value } = variable;
    // Of several the last one counts in Kubernetes; of names that are looked at here there is to be no doubt.
    if (isLookedAt(name) && last.get(name) !== variable) return [];
    if (value === undefined) return [variable];
    if (isOurs(name, value) || (proxied && name === 'NODE_USE_ENV_PROXY' && value === '1')) return [];
    const left = usersPart(name, value);
    if (left === value) return [variable];
    return left === '' ? [] : [{ ...variable, value: left }];
  });
}

function isLookedAt(name: string): boolean {
  return (
    [...PROXY_NAMES, ...BYPASS_NAMES, ...CA_NAMES, 'JAVA_TOOL_OPTIONS', 'NODE_USE_ENV_PROXY'].includes(name) ||
    /^SIDEKEY_([A-Z0-9_]+_)?URL$/.test(name)
  );
}

function isOurs(name: string, value: string): boolean {
  if (name === URL_VARIABLE || PROXY_NAMES.includes(name)) return value === PROXY_URL;
  if (CA_NAMES.includes(name)) return value === SIDECAR_PATHS.bundleFile;
  return /^SIDEKEY_[A-Z0-9_]+_URL$/.test(name) && value.startsWith(`${PROXY_URL}/`);
}

/** Ours stands behind what the user has. */
function usersPart(name: string, value: string): string {
  if (name === 'JAVA_TOOL_OPTIONS') return before(value, JAVA_BEGIN);
  return BYPASS_NAMES.includes(name) ? before(value, BYPASS_BEGIN).replace(/,$/, '') : value;
}

function before(text: string, mark: string): string {
  const begin = text.indexOf(mark);
  return begin < 0 ? text : text.slice(0, begin).trimEnd();
}
