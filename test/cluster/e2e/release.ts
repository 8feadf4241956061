import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cluster } from '../cluster.ts';
import { makeNamespace } from './madeNamespace.ts';

export const SYSTEM_NAMESPACE = 'sidekey-system';
const CHARTS = new URL('../../../charts/', import.meta.url).pathname;

export interface ReleaseOptions {
  /** `repository@sha256:…`, or with a tag. */
  image: string;
  extraCaPem: string;
}

/** What a person would do by docs/kubernetes/quickstart.md, in a namespace marked as ours. @throws Error with what helm says */
export async function installRelease(
  cluster: Cluster,
  options: ReleaseOptions,
  flags: readonly string[] = [],
): Promise<void> {
  await makeNamespace(cluster, SYSTEM_NAMESPACE);
  await helm(cluster, ['install', 'sidekey-crds', join(CHARTS, 'sidekey-crds'), '--namespace', 'default']);
  await installSidekey(cluster, options, flags);
}

/** The same where the kinds are there. */
export async function installSidekey(
  cluster: Cluster,
  options: ReleaseOptions,
  flags: readonly string[] = [],
): Promise<void> {
  await helm(cluster, [
    ...['install', 'sidekey', join(CHARTS, 'sidekey'), '--namespace', SYSTEM_NAMESPACE],
    ...valuesOf(options),
    ...flags,
    ...['--wait', '--timeout', '180s'],
  ]);
}

/** The flags that say what is different from the chart's defaults. */
export function valuesOf({ extraCaPem, image }: ReleaseOptions): string[] {
  const [repository, digest] = image.includes('@') ? image.split('@') : image.split(/:(?=[^:]*$)/);
  const file = join(mkdtempSync(join(tmpdir(), 'sidekey-values-')), 'values.json');
  const which = image.includes('@') ? { digest } : { tag: digest };
  writeFileSync(file, JSON.stringify({ image: { repository, ...which }, sidecar: { extraCA: extraCaPem } }));
  return ['--values', file];
}

export async function helm(cluster: Cluster, args: readonly string[]): Promise<string> {
  const { code, stderr, stdout } = await cluster.helm(args);
  if (code !== 0) throw new Error(`helm ${args.slice(0, 3).join(' ')} failed: ${stderr}\n${stdout}`);
  return stdout;
}
