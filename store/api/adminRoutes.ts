import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import type {
  AdminCredential,
  AdminSession,
  AuditChain,
  AuditKeyAnswer,
  AuditPruned,
  JoinTokenAnswer,
} from '../../api/admin.ts';
import { AuditPruneRequest, AuditQuery, CaRotateRequest, JoinTokenRequest } from '../../api/adminSchema.ts';
import { LiftQuery, RevocationRequest } from '../../api/revocationSchema.ts';
import { backupRequest, makeBackup } from '../backup/backup.ts';
import type { Store } from '../core.ts';
import { storeError } from '../errors.ts';
import { streamAudit } from './auditStream.ts';
import { materialOf, objectKeyOf, parse } from './http.ts';
import { sendMaterial } from './materialBody.ts';
import { endSessions } from './sessionsQuery.ts';

const BY = 'owner';

/** The routes of api/admin.ts. */
export function adminRoutes(app: FastifyInstance, store: Store): void {
  const { audit, hub, identities, joinTokens, leases, materials, repository, revocations, sessions, settings, state } =
    store;

  app.post('/v1/admin/join-tokens', async (request): Promise<JoinTokenAnswer> => {
    const invitation = parse(JoinTokenRequest, request.body);
    const joinToken = await repository.transaction(async (tx) => {
      await audit.append(tx, {
        kind: 'join-token.issued',
        invited: invitation.kind,
        session: invitation.session,
        by: BY,
      });
      return joinTokens.issue(tx, invitation);
    });
    return { joinToken, expiresInSeconds: settings.joinTokenSeconds, trustBundlePem: store.ca.trustBundlePem };
  });

  app.get('/v1/admin/credentials', async (): Promise<AdminCredential[]> => {
    const keys = new Set([...state.credentials.keys(), ...state.materials.keys()]);
    return [...keys].sort().map((key) => {
      const stored = state.stored(key);
      const head = stored === undefined ? state.materials.get(key) : state.materialInForce(key);
      return {
        key,
        version: head?.version ?? 0,
        fields: head?.fields ?? [],
        ...stored,
        ...(head && { updatedAt: new Date(head.writtenAtMs).toISOString() }),
      };
    });
  });
  app.put('/v1/admin/credentials/:namespace/:name/material', (request) =>
    materials.set(objectKeyOf(request), materialOf(request), BY),
  );
  app.get('/v1/admin/credentials/:namespace/:name/material', async (request, reply) => {
    const { frame } = await materials.reveal(objectKeyOf(request), BY);
    reply.hijack();
    sendMaterial(reply.raw, frame, {});
  });
  app.delete('/v1/admin/credentials/:namespace/:name/material', async (request, reply) => {
    await materials.remove(objectKeyOf(request), BY);
    return reply.code(204).send();
  });

  app.get(
    '/v1/admin/sessions',
    async (): Promise<AdminSession[]> =>
      [...identities.sessions()].map((session) => ({
        ...session,
        lastSeenAt: sessions.lastSeenAt(session, hub.connected(session)),
        leases: leases.count(session),
      })),
  );
  app.delete('/v1/admin/sessions/:id', async (request, reply) => {
    // It may have begun at another replica a moment ago.
    await repository.caughtUp();
    const session = identities.session((request.params as { id: string }).id);
    if (session === undefined) throw storeError('NotFound', 'There is no such session; it may have ended already.');
    await sessions.end(session, 'ended by the owner');
    return reply.code(204).send();
  });

  app.delete('/v1/admin/sessions', async (request, reply) => {
    await endSessions(store, request.query, 'ended by the owner');
    return reply.code(204).send();
  });

  app.get('/v1/admin/revocations', async () => revocations.list());
  app.post('/v1/admin/revocations', (request) => revocations.revoke(parse(RevocationRequest, request.body), BY));
  app.delete('/v1/admin/revocations', (request) => revocations.lift(parse(LiftQuery, request.query).id, BY));

  app.get('/v1/admin/ca', async () => store.caRotation.status());
  app.post('/v1/admin/ca/rotate', (request) => {
    const { root } = parse(CaRotateRequest, request.body);
    return store.caRotation.rotate(root ? 'root' : 'intermediate', BY);
  });

  app.post('/v1/admin/backup', (request, reply) => {
    const wanted = backupRequest(materialOf(request));
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': 'application/octet-stream', 'cache-control': 'no-store' });
    // An answer that breaks off is no backup: its end is missing.
    Readable.from(makeBackup(store, wanted, BY))
      .on('error', (error) => reply.raw.destroy(error))
      .pipe(reply.raw);
  });

  app.get('/v1/admin/audit/head', async () => {
    const head = await audit.head();
    if (head === undefined) throw storeError('NotFound', 'The audit has no entry yet.');
    return head;
  });
  app.get('/v1/admin/audit', async (request, reply) => {
    const { chain = audit.chain, since, until, kind, ...query } = parse(AuditQuery, request.query);
    const after = since === undefined ? query.after : Math.max(query.after, (await audit.seqAt(chain, since)) - 1);
    reply.hijack();
    await streamAudit(reply.raw, store, {
      chain,
      after,
      until,
      kinds: kind === undefined ? undefined : new Set(kind.split(',')),
      limit: query.limit ?? Number.POSITIVE_INFINITY,
      follow: query.follow === 'true',
    });
  });
  app.get('/v1/admin/audit/chains', (): Promise<AuditChain[]> => audit.chains());
  app.post('/v1/admin/audit/prune', (request): Promise<AuditPruned[]> => {
    const { before } = parse(AuditPruneRequest, request.body);
    return audit.prune(before, BY);
  });
  app.post('/v1/admin/audit/key', async (): Promise<AuditKeyAnswer> => ({ publicKeyPem: await audit.rotateKey(BY) }));
}
