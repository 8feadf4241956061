const NAMES = ['HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy'] as const;
const ALL = ['ALL_PROXY', 'all_proxy'] as const;

/**
 * The user's own proxy for the sidecar, which goes through it in the agent's stead: HTTP_PROXY, HTTPS_PROXY and NO_PROXY as they
 * are, ALL_PROXY where neither says more. `problem`: what of it the sidecar cannot do.
 */
export function userProxy(env: NodeJS.ProcessEnv): { env: NodeJS.ProcessEnv; problem: string | undefined } {
  const all = ALL.map((name) => env[name]).find((value) => value);
  if (!all || NAMES.some((name) => env[name])) return { env, problem: undefined };
  if (/^[a-z0-9]+:\/\//i.test(all) && !/^https?:/i.test(all))
    return {
      env,
      problem:
        'ALL_PROXY is no http:// or https:// proxy, which is all that the sidecar can go through; it connects directly',
    };
  return { env: { ...env, HTTP_PROXY: all, HTTPS_PROXY: all }, problem: undefined };
}
