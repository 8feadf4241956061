import type { Grant } from '../../api/grant.ts';
import { CA_VARIABLES, RARE_CA_VARIABLES } from '../../lib/agent/caVariables.ts';
import { javaOptions } from '../../lib/agent/javaOptions.ts';
import { noProxy } from '../../lib/agent/noProxy.ts';
import { variableWord } from '../../lib/agent/variableWord.ts';
import { knownVariables } from './knownVariables.ts';

export interface AgentEnvInput {
  env: NodeJS.ProcessEnv;
  grants: readonly Grant[];
  proxyPort: number;
  /** PEM: the roots of this machine and the sidecar's own CA. */
  bundleFile: string;
  /** The same as a Java trust store. */
  trustStoreFile: string;
  /** Leaves the user's variables that look like real keys as they are. */
  keepEnv: boolean;
}

export interface AgentEnv {
  env: Record<string, string>;
  warnings: string[];
}

/** Belong to this command or to the user's own proxy, and would mislead the agent. */
const DROPPED = ['SIDEKEY_DIR', 'SIDEKEY_DATABASE_URL', 'ALL_PROXY', 'all_proxy'];

/** The environment that an agent runs in: the user's, with the sidecar as its proxy, trust in its CA, and placeholders. Pure. */
export function agentEnv(input: AgentEnvInput): AgentEnv {
  const { env, grants, proxyPort, bundleFile } = input;
  const warnings: string[] = [];
  const agent: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && !DROPPED.includes(name)) agent[name] = value;
  }
  const proxy = `http://127.0.0.1:${proxyPort}`;
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy']) agent[name] = proxy;
  const bypass = noProxy(
    env,
    grants.flatMap((grant) => grant.hosts),
  );
  agent.NO_PROXY = bypass.value;
  agent.no_proxy = bypass.value;
  if (bypass.dropped.length > 0)
    warnings.push(
      `NO_PROXY names hosts that an Integration covers (${bypass.dropped.join(', ')}); the agent goes through the sidecar for them`,
    );
  for (const name of CA_VARIABLES) agent[name] = bundleFile;
  for (const name of RARE_CA_VARIABLES) if (env[name]) agent[name] = bundleFile;
  agent.NODE_USE_ENV_PROXY = '1';
  agent.JAVA_TOOL_OPTIONS = javaOptions({
    own: env.JAVA_TOOL_OPTIONS,
    trustStoreFile: input.trustStoreFile,
    proxyPort,
  });
  agent.SIDEKEY_URL = proxy;
  for (const { alias } of grants) {
    if (alias !== undefined) agent[`SIDEKEY_${variableWord(alias)}_URL`] = `${proxy}/${alias}`;
  }
  const known = knownVariables(grants, env);
  Object.assign(agent, known.set);
  for (const { name, host, placeholder } of known.exposed) {
    if (!input.keepEnv) agent[name] = placeholder;
    warnings.push(exposure(name, host, input.keepEnv));
  }
  return { env: agent, warnings };
}

function exposure(name: string, host: string, kept: boolean): string {
  const found = `${name} holds what looks like a real key for ${host}`;
  return kept
    ? `${found}, and the agent can read it because of --keep-env`
    : `${found}; the agent gets a placeholder in its place. Take it out of your environment (sidekey import helps), or pass --keep-env`;
}
