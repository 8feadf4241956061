import { join } from 'node:path';
import { ControlPlane } from '../cluster/controlPlane.ts';
import { type CommandResult, helm } from '../cluster/kubectl.ts';
import { established } from '../crds/withCrds.ts';
import { CHART, RELEASE_NAMESPACE } from './render.ts';

const CRDS = join(CHART, '..', 'sidekey-crds');
export const AGENTS_NAMESPACE = 'agents';

/** An API server that both charts can be installed to; nothing runs there, so nothing is waited for. */
export class Installation {
  readonly plane: ControlPlane;

  private constructor(plane: ControlPlane) {
    this.plane = plane;
  }

  /** With the CRDs, and namespaces that refuse every pod but restricted ones. */
  static async prepare(): Promise<Installation> {
    const plane = await ControlPlane.start();
    const restricted = {
      'pod-security.kubernetes.io/enforce': 'restricted',
      'pod-security.kubernetes.io/warn': 'restricted',
    };
    for (const name of [RELEASE_NAMESPACE, AGENTS_NAMESPACE]) {
      await plane.client().create('/api/v1/namespaces', { metadata: { name, labels: restricted } });
      await plane.client().create(`/api/v1/namespaces/${name}/serviceaccounts`, { metadata: { name: 'default' } });
    }
    const installation = new Installation(plane);
    await installation.helm('install', 'sidekey-crds', CRDS);
    for (const plural of ['credentials', 'integrations']) await established(plane.client(), `${plural}.sidekey.dev`);
    return installation;
  }

  /** Runs helm for the release's namespace. @throws Error if it fails, or warns */
  async helm(...args: string[]): Promise<CommandResult> {
    const { kubeconfigFile } = this.plane;
    const result = await helm([...args, '--namespace', RELEASE_NAMESPACE], {
      kubeconfigFile,
      cacheDir: join(kubeconfigFile, '..', 'helm'),
    });
    if (result.code !== 0 || /warn/i.test(result.stderr)) throw new Error(`helm ${args[0]}: ${result.stderr}`);
    return result;
  }

  /** A client that is the ServiceAccount of a part. */
  as(part: 'store' | 'operator' | 'webhook') {
    return this.plane.client(serviceAccount(part));
  }
}

export function serviceAccount(part: string): { name: string; groups: string[] } {
  return {
    name: `system:serviceaccount:${RELEASE_NAMESPACE}:sidekey-${part}`,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${RELEASE_NAMESPACE}`],
  };
}
