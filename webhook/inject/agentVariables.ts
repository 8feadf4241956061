import type { V1Container, V1EnvVar } from '@kubernetes/client-node';
import { SIDECAR_PATHS, SIDECAR_PORTS } from '../../api/pods.ts';
import { CA_VARIABLES, RARE_CA_VARIABLES } from '../../lib/agent/caVariables.ts';
import { javaOptions } from '../../lib/agent/javaOptions.ts';
import { noProxy } from '../../lib/agent/noProxy.ts';
import { variableWord } from '../../lib/agent/variableWord.ts';
import type { Capture } from './capture.ts';
import { API_SERVER, BYPASS_PAIR, PROXY_PAIRS, THIS_MACHINE, URL_VARIABLE, withoutOurs } from './ownVariables.ts';
import { PROXY_URL, resolveReferences } from './references.ts';
import type { KnownIntegration, NamespaceObjects } from './settings.ts';
import type { Warnings } from './warnings.ts';

/** A pod that is granted more has them by their aliases all the same. */
const BASE_URLS_LIMIT = 64;

export interface AgentVariablesInput {
  capture: Capture;
  clusterDomain: string;
  objects: NamespaceObjects;
  /** Those that are for this pod. */
  granted: readonly KnownIntegration[];
  warnings: Warnings;
}

/**
 * The environment of a container of the user's: references resolved, and what makes runtimes use the sidecar in front, so that the
 * user's values may refer to it by `$(SIDEKEY_URL)` and win over it (the last one of a name does). What the user has set is never
 * overwritten, but warned about where it leads past the sidecar.
 */
export function agentVariables(container: V1Container, input: AgentVariablesInput): V1EnvVar[] {
  const { capture, granted, objects, warnings } = input;
  const warn = (text: string) => warnings.ofContainer(container.name, text);
  const resolved = (container.env ?? []).map((variable) => {
    if (variable.value === undefined) return variable;
    const value = resolveReferences(variable.value, objects, (why) => {
      warn(`has ${variable.name} with ${why}; it stays as it is until the pod is created anew`);
    });
    return value === variable.value ? variable : { ...variable, value };
  });
  // Only then, as a reference may stand for what is ours.
  const users = withoutOurs(resolved);
  const mine = new Map<string, string>([[URL_VARIABLE, PROXY_URL]]);
  for (const { alias } of granted.slice(0, BASE_URLS_LIMIT))
    if (alias !== undefined) mine.set(`SIDEKEY_${variableWord(alias)}_URL`, `${PROXY_URL}/${alias}`);
  const env = new Variables(users, mine);
  if (capture.mode === 'proxy') setProxy(env, input, warn);
  if (capture.mode !== 'baseURL') {
    setCas(env, warn);
    setJava(env, input, warn);
    if ((container.envFrom ?? []).length > 0)
      warn('takes variables by envFrom, which cannot be seen here; ours win over proxy and CA variables among them');
  }
  if (capture.mode === 'proxy') setBypass(env, input, warn);
  return env.list();
}

/** The user's variables in their order, with ours before them. */
class Variables {
  readonly #mine: Map<string, string>;
  #users: V1EnvVar[];

  constructor(users: V1EnvVar[], mine: Map<string, string>) {
    this.#users = users;
    this.#mine = mine;
  }

  /** The last one of a name is the one that counts. */
  user(name: string): V1EnvVar | undefined {
    return this.#users.findLast((variable) => variable.name === name);
  }

  /** In the place of the user's, if that says nothing but what ours does: it then comes out the same when the pod comes by again. */
  add(name: string, value: string): void {
    this.#users = this.#users.filter((variable) => variable.name !== name);
    this.#mine.set(name, value);
  }

  amend(name: string, value: string): void {
    const amended = this.user(name);
    this.#users = this.#users.map((variable) => (variable === amended ? { ...variable, value } : variable));
  }

  list(): V1EnvVar[] {
    const mine = [...this.#mine].filter(([name]) => this.user(name) === undefined);
    return [...mine.map(([name, value]) => ({ name, value })), ...this.#users];
  }
}

type Warn = (text: string) => void;

/** Programs look at either case, each in its own order: one that the user has decides for both. */
function setProxy(env: Variables, _input: AgentVariablesInput, warn: Warn): void {
  for (const pair of PROXY_PAIRS) {
    const own = pair.filter((name) => env.user(name) !== undefined);
    if (own.length === 0) for (const name of pair) env.add(name, PROXY_URL);
    else
      warn(
        `sets ${own.join(' and ')}, which is kept: what goes there gets no credentials; remove it, or use SIDEKEY_URL (annotation sidekey.dev/capture: baseURL)`,
      );
  }
  const node = env.user('NODE_USE_ENV_PROXY');
  if (node === undefined || node.value === '1') env.add('NODE_USE_ENV_PROXY', '1');
  else warn('sets NODE_USE_ENV_PROXY, which is kept: Node.js does not go through the sidecar unless it is 1');
}

function setCas(env: Variables, warn: Warn): void {
  const own = [...CA_VARIABLES, ...RARE_CA_VARIABLES].filter((name) => env.user(name) !== undefined);
  for (const name of CA_VARIABLES) if (env.user(name) === undefined) env.add(name, SIDECAR_PATHS.bundleFile);
  if (own.length > 0)
    warn(
      `sets ${own.join(', ')}, which is kept: what reads it does not trust the sidecar and fails at hosts of Integrations; remove it, and give your CA to the chart as sidecar.extraCA`,
    );
}

function setJava(env: Variables, { capture, ...input }: AgentVariablesInput, warn: Warn): void {
  const name = 'JAVA_TOOL_OPTIONS';
  const own = env.user(name);
  if (own?.valueFrom !== undefined || /-Djavax\.net\.ssl\.trustStore=|-Dhttps?\.proxyHost=/.test(own?.value ?? '')) {
    warn(
      `sets ${name} with a trust store or proxy, or from elsewhere; it is kept, and Java does not use the sidecar until you remove that`,
    );
    return;
  }
  const value = javaOptions({
    own: own?.value,
    trustStoreFile: SIDECAR_PATHS.trustStoreFile,
    ...(capture.mode === 'proxy' && { proxyPort: SIDECAR_PORTS.proxy, bypass: apiServerNames(input.clusterDomain) }),
  });
  if (own?.value) env.amend(name, value);
  else env.add(name, value);
}

/** Added last: what is there of the user's in one case is then where it was when the pod comes by again. */
function setBypass(env: Variables, input: AgentVariablesInput, warn: Warn): void {
  const found = BYPASS_PAIR.map((name) => env.user(name));
  if (found.some((variable) => variable?.valueFrom !== undefined)) {
    warn('takes NO_PROXY from elsewhere, which is kept: hosts in it are reached past the sidecar, without credentials');
    return;
  }
  const hosts = input.granted.flatMap((integration) => integration.hosts);
  const own = [...THIS_MACHINE, ...apiServerNames(input.clusterDomain)];
  const outcomes = found.map((variable) => noProxy({ NO_PROXY: variable?.value }, hosts, own));
  const plain = own.join(',');
  const users = outcomes.find(({ value }) => value !== plain);
  for (const [i, name] of BYPASS_PAIR.entries()) {
    const { dropped, value } = outcomes[i]!;
    if (value === plain) env.add(name, users?.value ?? plain);
    else env.amend(name, value);
    if (dropped.length > 0)
      warn(
        `has ${dropped.join(', ')} in ${name}, which an Integration covers; it is taken out, and goes through the sidecar`,
      );
  }
}

/** The API server goes past the sidecar; everything else of the cluster goes through, as an Integration for it may come later. */
function apiServerNames(clusterDomain: string): string[] {
  const name = 'kubernetes.default';
  return [API_SERVER, name, `${name}.svc`, `${name}.svc.${clusterDomain}`];
}
