import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { KekStatus } from '../../api/kek.ts';
import type { KekRotation } from '../vault/kekRotation.ts';
import { KekSpec } from '../vault/kekSpec.ts';
import { type SealReason, StoreSealed } from '../vault/sealed.ts';
import { parse } from './http.ts';

const KekRotateRequest = z.strictObject({ to: KekSpec.optional() });

/** The routes of api/kek.ts. */
export function kekRoutes(app: FastifyInstance, { kek }: { kek: KekRotation }): void {
  app.get('/v1/admin/kek', () => kek.status());
  app.get('/v1/admin/kek/rotation', async (_request, reply) => (await kek.progress()) ?? reply.code(204).send());
  app.post('/v1/admin/kek/rotate', (request) => kek.start(parse(KekRotateRequest, request.body).to, 'owner'));
}

/** What a store answers that started sealed: why, and nothing else. */
export function sealedRoutes(app: FastifyInstance, reason: () => SealReason): void {
  app.get('/v1/admin/kek', async (): Promise<KekStatus> => ({ sealed: reason(), keys: [] }));
  app.addHook('onRequest', async (request) => {
    if (request.routeOptions.url === undefined) throw new StoreSealed(reason(), async () => reason());
  });
}
