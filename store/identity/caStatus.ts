import { X509Certificate } from 'node:crypto';
import type { CaStatus } from '../../api/admin.ts';
import { activeIntermediate, type CaState, countByIssuer, issuerOf } from './caState.ts';
import type { Identities } from './identities.ts';

/** What the owner is told of the CA: its chain, how old everything is, when it is replaced, and how many certificates stand under it. */
export function caStatus(
  state: CaState,
  identities: Identities,
  times: { rootRotateSeconds: number; intermediateRotateSeconds: number; caSettleSeconds: number },
): CaStatus {
  const counts = countByIssuer(state, identities.serials());
  const active = activeIntermediate(state);
  const { rotation } = state;
  const under = (root: string) =>
    state.intermediates.filter((one) => one.root === root).reduce((sum, { id }) => sum + (counts.get(id) ?? 0), 0);
  return {
    roots: state.roots.map(({ id, certificatePem, createdAtMs }) => ({
      id,
      ...facts(certificatePem),
      state: id === active.root ? 'active' : id === rotation?.root ? 'published' : 'retiring',
      createdAt: time(createdAtMs, 0),
      ...(id === active.root && rotation === undefined && { rotatesAt: time(createdAtMs, times.rootRotateSeconds) }),
      certificates: under(id),
    })),
    intermediates: state.intermediates.map(({ id, root, certificatePem, createdAtMs }) => ({
      id,
      root,
      ...facts(certificatePem),
      state: id === active.id ? 'active' : 'retiring',
      createdAt: time(createdAtMs, 0),
      ...(id === active.id && { rotatesAt: time(createdAtMs, times.intermediateRotateSeconds) }),
      certificates: counts.get(id) ?? 0,
    })),
    issuedByRoot: counts.get('') ?? 0,
    ...(rotation && {
      rotation: {
        phase: rotation.phase,
        root: rotation.root,
        since: time(rotation.sinceMs, 0),
        notBefore: time(rotation.sinceMs, times.caSettleSeconds),
        waitsFor: rootRotationWaitsFor(state, identities),
      },
    }),
  };
}

/**
 * Certificates that stand in the way of the next step: those from before the last one, also if they were renewed since, for the answer
 * to that may not have arrived.
 */
export function rootRotationWaitsFor(state: CaState, identities: Identities): number {
  const { intermediates, rotation } = state;
  const known = intermediates.findIndex(({ id }) => id === rotation?.known);
  const knowing = new Set(intermediates.slice(known).map(({ id }) => id));
  let count = 0;
  for (const serial of identities.serials()) if (!knowing.has(issuerOf(serial))) count += 1;
  return count;
}

function facts(pem: string): { subject: string; fingerprint: string; validFrom: string; validTo: string } {
  const { fingerprint256, subject, validFromDate, validToDate } = new X509Certificate(pem);
  return {
    subject: subject.replace(/^CN=/, ''),
    fingerprint: fingerprint256,
    validFrom: validFromDate.toISOString(),
    validTo: validToDate.toISOString(),
  };
}

function time(atMs: number, seconds: number): string {
  return new Date(atMs + seconds * 1000).toISOString();
}
