import type { TLSSocket } from 'node:tls';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { LEASE_HEADERS, type SessionsAnswer } from '../../api/protocol.ts';
import {
  CredentialRecord,
  EventsQuery,
  IntegrationRecord,
  JoinRequest,
  LeaseRequest,
  PodQuery,
  RenewRequest,
  SessionSubject,
  UsageReport,
} from '../../api/protocolSchema.ts';
import type { Session } from '../../api/session.ts';
import type { Store } from '../core.ts';
import { STORE_ERRORS, storeError, storeErrorCode } from '../errors.ts';
import { clientPublicKey } from '../identity/certificateAuthority.ts';
import type { Identity } from '../identity/identities.ts';
import type { PodIdentities } from '../kubernetes/podIdentity.ts';
import { NdjsonStream } from '../push/ndjsonStream.ts';
import { materialOf, objectKeyOf, parse } from './http.ts';
import { sendMaterial } from './materialBody.ts';
import { endSessions } from './sessionsQuery.ts';

type SessionIdentity = Identity & { kind: 'session' };

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call the route; `anyone` needs no certificate. */
    who?: 'anyone' | 'joined' | Identity['kind'];
  }
}

/** The routes of api/protocol.ts. `pods`: who shows a ServiceAccount token, in a cluster. */
export function protocolRoutes(app: FastifyInstance, store: Store, pods?: PodIdentities): void {
  const { hub, leases, materials, objects, refusals, sessions, settings } = store;
  const identities = new WeakMap<FastifyRequest, Identity>();

  app.addHook('onRequest', async (request, reply) => {
    const { who = 'joined' } = request.routeOptions.config;
    if (who === 'anyone') return;
    let identity: Identity;
    try {
      identity = await identify(store, request.raw.socket as TLSSocket);
      if (who !== 'joined' && identity.kind !== who) throw storeError('NotPermitted');
    } catch (error) {
      const { method, routeOptions } = request;
      refusals.record('request.refused', error, { method, route: routeOptions.url, from: sourceOf(request) });
      throw error;
    }
    if (identity.kind === 'session') {
      sessions.seen(identity.session);
      admit(request.raw.socket as TLSSocket, reply, identity.session);
    }
    identities.set(request, identity);
  });
  function admit(socket: TLSSocket, reply: FastifyReply, session: Session): void {
    try {
      store.admission.request(socket, reply.raw, session);
    } catch (error) {
      reply.header('connection', 'close');
      throw error;
    }
  }
  const session = (request: FastifyRequest) => identities.get(request) as SessionIdentity;

  app.post('/v1/join', { config: { who: 'anyone' } }, async (request) => {
    const from = sourceOf(request);
    const address = request.raw.socket.remoteAddress ?? '';
    store.refusedJoins.check(address);
    try {
      store.openings.joins.take();
      const { publicKeyPem, ...proof } = parse(JoinRequest, request.body);
      const publicKey = clientPublicKey(publicKeyPem);
      if ('joinToken' in proof) return await sessions.join(proof.joinToken, publicKey, from);
      if (pods === undefined)
        throw storeError('PodTokenInvalid', 'This store is not in a cluster, and takes join tokens.');
      return await sessions.joinPod(await pods.of(proof.serviceAccountToken), publicKey, from);
    } catch (error) {
      if (isForGood(error)) store.refusedJoins.refused(address);
      refusals.record('join.refused', error, { from });
      throw error;
    }
  });
  app.post('/v1/renew', async (request) => {
    const identity = identities.get(request)!;
    try {
      const { publicKeyPem } = parse(RenewRequest, request.body);
      await requirePod(identity);
      return await sessions.renew(identity, clientPublicKey(publicKeyPem));
    } catch (error) {
      refusals.record('renew.refused', error, { serial: identity.serial, from: sourceOf(request) });
      throw error;
    }
  });

  /** The operator ends the sessions of pods that are gone; should it be away, they end here. What it is itself, the token of its pod says each time. */
  async function requirePod(identity: Identity): Promise<void> {
    if (pods === undefined) return;
    if (identity.kind === 'operator')
      throw storeError(
        'NotPermitted',
        'In a cluster an operator is not renewed: it joins anew by the token of its pod.',
      );
    if (identity.session.pod === undefined) return;
    const { namespace, pod } = identity.session;
    if (!(await pods.isGone(namespace, pod))) return;
    await sessions.end(identity.session, 'its pod is gone');
    throw storeError('IdentityRevoked', 'The pod of the session is gone.');
  }

  const forSession = { config: { who: 'session' } } as const;
  app.get('/v1/session/events', forSession, async (request, reply) => {
    // A replica that does not hear of revocations keeps nobody.
    await store.repository.caughtUp();
    // Between the hook and here the session may have ended; from here on the hub is told.
    if (!store.identities.alive(session(request))) throw storeError('IdentityRevoked');
    store.limits.takeStream(session(request).session);
    store.openings.streams.take();
    const { cursor } = parse(EventsQuery, request.query);
    store.admission.stream(reply.raw, session(request).session);
    reply.hijack();
    hub.openSession(session(request).session, new NdjsonStream(reply.raw, settings.streamLagLimitBytes), cursor);
  });
  app.get('/v1/session/snapshot', forSession, async (request, reply) => {
    await store.repository.caughtUp();
    store.limits.takeStream(session(request).session);
    store.openings.streams.take();
    const { cursor } = parse(EventsQuery, request.query);
    return reply
      .type('application/x-ndjson')
      .header('cache-control', 'no-store')
      .send(hub.snapshot(session(request).session, cursor));
  });
  app.post('/v1/leases', forSession, async (request, reply) => {
    const lease = await leases.issue(session(request), parse(LeaseRequest, request.body), sourceOf(request));
    reply.hijack();
    sendMaterial(reply.raw, lease.frame, {
      [LEASE_HEADERS.id]: lease.id,
      [LEASE_HEADERS.version]: lease.version,
      [LEASE_HEADERS.expiresInSeconds]: lease.expiresInSeconds,
      ...(lease.single && { [LEASE_HEADERS.single]: '1' }),
    });
  });
  app.post('/v1/usage', forSession, async (request, reply) => {
    const who = session(request).session;
    try {
      const report = parse(UsageReport, request.body);
      store.limits.take(who, report.strict ? 'strictUsage' : 'usage');
      await store.usage.record(who, report);
    } catch (error) {
      refusals.record('usage.refused', error, { session: who.id, from: sourceOf(request) });
      throw error;
    }
    return reply.code(204).send();
  });
  app.delete('/v1/session', forSession, async (request, reply) => {
    await sessions.end(session(request).session, 'the session ended itself');
    return reply.code(204).send();
  });

  const forOperator = { config: { who: 'operator' } } as const;
  const by = 'operator';
  app.get('/v1/objects', forOperator, async () => {
    await store.repository.caughtUp();
    return objects.list();
  });
  app.get('/v1/objects/events', forOperator, async (_request, reply) => {
    await store.repository.caughtUp();
    reply.hijack();
    hub.openOperator(new NdjsonStream(reply.raw, settings.streamLagLimitBytes));
  });
  app.put('/v1/credentials/:namespace/:name', forOperator, (request) =>
    objects.applyCredential(objectKeyOf(request), parse(CredentialRecord, request.body), by),
  );
  app.delete('/v1/credentials/:namespace/:name', forOperator, async (request, reply) => {
    await objects.removeCredential(objectKeyOf(request), by);
    return reply.code(204).send();
  });
  app.put('/v1/credentials/:namespace/:name/material', forOperator, async (request) => {
    const stored = await materials.put(objectKeyOf(request), materialOf(request), by);
    return { ...store.state.stored(stored.key), ...stored };
  });
  app.put('/v1/integrations/:namespace/:name', forOperator, async (request, reply) => {
    await objects.applyIntegration(objectKeyOf(request), parse(IntegrationRecord, request.body), by);
    return reply.code(204).send();
  });
  app.delete('/v1/integrations/:namespace/:name', forOperator, async (request, reply) => {
    await objects.removeIntegration(objectKeyOf(request), by);
    return reply.code(204).send();
  });
  app.get('/v1/sessions', forOperator, async (): Promise<SessionsAnswer> => {
    await store.repository.caughtUp();
    return {
      sessions: [...store.identities.sessions()].map(({ requester: _, startedAt: __, ...session }) => session),
    };
  });
  app.put('/v1/sessions', forOperator, async (request, reply) => {
    const { pod } = parse(PodQuery, request.query);
    await sessions.changePod(pod, subjectOf(parse(SessionSubject, request.body)));
    return reply.code(204).send();
  });
  app.delete('/v1/sessions', forOperator, async (request, reply) => {
    await endSessions(store, request.query, 'its pod is gone');
    return reply.code(204).send();
  });
}

/**
 * One that is not known may have joined at another replica a moment ago, and by an intermediate that has just begun there: TLS has verified
 * it up to a root of ours. @throws NotAuthenticated, IdentityRevoked, StorageFailed
 */
async function identify(store: Store, socket: TLSSocket): Promise<Identity> {
  try {
    return store.peers.identify(socket);
  } catch (error) {
    const ofUnknownIssuer = storeErrorCode(error) === 'NotAuthenticated' && socket.authorized;
    if (!ofUnknownIssuer && storeErrorCode(error) !== 'IdentityRevoked') throw error;
    await store.repository.caughtUp();
    if (ofUnknownIssuer) await store.ca.reload();
    return store.peers.identify(socket);
  }
}

/** In one order, whatever order it came in. */
function subjectOf({ role, tags }: { role?: string | undefined; tags: string[] }): Pick<Session, 'role' | 'tags'> {
  return { ...(role !== undefined && { role }), tags: [...new Set(tags)].sort() };
}

/** Whether the same would be refused again. */
function isForGood(error: unknown): boolean {
  const code = storeErrorCode(error);
  return code !== undefined && !STORE_ERRORS[code].retryable;
}

function sourceOf(request: FastifyRequest): string {
  return `${request.raw.socket.remoteAddress}:${request.raw.socket.remotePort}`;
}
