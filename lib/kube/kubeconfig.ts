import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import type { KubeTarget } from './client.ts';

export interface KubeconfigOptions {
  /** What KUBECONFIG names, or ~/.kube/config, if left out. */
  file?: string | undefined;
  /** The current one if left out. */
  context?: string | undefined;
}

/**
 * The API server that a kubeconfig names, with whatever way of login it has (client certificates, tokens, exec plug-ins).
 *
 * Imports all of client-node, which costs 86 MB and most of a second: for commands, not for what stays.
 *
 * @throws Error if there is no such file or context
 */
export async function kubeconfigTarget(
  options: KubeconfigOptions = {},
): Promise<KubeTarget & { namespace: string | undefined; context: string }> {
  const config = await loadKubeconfig(options);
  const context = config.getCurrentContext();
  const cluster = config.getCurrentCluster();
  if (cluster === null)
    throw new Error(`the kubeconfig has no cluster for the context ${JSON.stringify(context)}; choose another context`);
  // Where there is no kubeconfig at all, client-node makes one up, of http://localhost:8080.
  if (!cluster.skipTLSVerify && !cluster.server.startsWith('https://'))
    throw new Error(
      `neither KUBECONFIG nor ~/.kube/config names a cluster by an https:// address (what there is: ${cluster.server})`,
    );
  const login = async (): Promise<RequestOptions> => {
    const options: RequestOptions = {};
    await config.applyToHTTPSOptions(options);
    return options;
  };
  const { ca, cert, key } = await login();
  return {
    url: cluster.server,
    caPem: pemOf(ca),
    ...(cert && key ? { clientCert: { certPem: pemOf(cert)!, keyPem: pemOf(key)! } } : {}),
    serverName: cluster.tlsServerName,
    unverified: cluster.skipTLSVerify,
    headers: async () => headersOf(await login()),
    namespace: config.getContextObject(context)?.namespace,
    context,
  };
}

/** As kubectl would read it, for what client-node does itself (streams of exec). Imports all of it. @throws Error if there is no such file */
export async function loadKubeconfig({ context, file }: KubeconfigOptions): Promise<KubeConfig> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  if (file === undefined) config.loadFromDefault();
  else config.loadFromFile(file);
  if (context !== undefined) config.setCurrentContext(context);
  return config;
}

function pemOf(value: unknown): string | undefined {
  return value === undefined || value === null ? undefined : String(value);
}

function headersOf({ auth, headers }: RequestOptions): Record<string, string> {
  const given = Object.entries((headers ?? {}) as Record<string, unknown>).map(([name, value]) => [
    name,
    String(value),
  ]);
  if (auth) given.push(['authorization', `Basic ${Buffer.from(auth).toString('base64')}`]);
  return Object.fromEntries(given) as Record<string, string>;
}
