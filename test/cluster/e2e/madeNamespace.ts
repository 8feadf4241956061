import type { Cluster } from '../cluster.ts';

/** The label of what a run makes beside the charts: only what has it is taken away again. */
export const MARK = 'sidekey.test/made-by';
export const MADE = { [MARK]: 'run' };

/** Makes a namespace, marked as ours. @throws Error if there is one of that name, which may be anybody's */
export async function makeNamespace(
  cluster: Cluster,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<void> {
  const input = JSON.stringify({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name, labels: { ...labels, ...MADE } },
  });
  const { code, stderr } = await cluster.kubectl(['create', '-f', '-'], { input });
  if (code !== 0) throw new Error(`the namespace ${name} was refused: ${stderr}`);
}
