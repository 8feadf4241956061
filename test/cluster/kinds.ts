import type { Cluster } from './cluster.ts';

/** Those of Sidekey, as they are called in full. */
export const KINDS = ['credentials.sidekey.dev', 'integrations.sidekey.dev'];
const ROUND = '10s';
const ROUNDS = 12;

/**
 * Deletes kinds and waits until they are gone, 2 min at most.
 *
 * The API server's first try often meets "storage is (re)initializing", and one time in a hundred the next try is lost: it
 * waits five minutes then, or until the kind changes (apiextensions-apiserver 1.34, crd_finalizer.go: a conflict forgets the
 * key, an update of the Terminating condition does not bring it back). A second delete changes it.
 *
 * @throws Error with what kubectl said last
 */
export async function deleteKinds(of: Pick<Cluster, 'kubectl'>, names: readonly string[]): Promise<void> {
  const args = ['delete', 'customresourcedefinitions', ...names, '--ignore-not-found', `--timeout=${ROUND}`];
  for (let round = 1; ; round += 1) {
    const { code, stderr } = await of.kubectl(args);
    if (code === 0) return;
    if (round === ROUNDS) throw new Error(`kubectl ${args.join(' ')} failed ${ROUNDS} times: ${stderr}`);
  }
}
