import { z } from 'zod';
import type {
  AuditPruneRequest as AuditPruneRequestType,
  CaRotateRequest as CaRotateRequestType,
  JoinTokenRequest as JoinTokenRequestType,
} from './admin.ts';
import { LabelName, SubdomainName, WordName } from './metadata.ts';

const SessionRequest = z.strictObject({
  namespace: LabelName,
  serviceAccount: z
    .string()
    .min(1)
    .max(253)
    .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, {
      error: 'expected the name of a ServiceAccount: lower-case letters, digits, dashes and dots',
    }),
  role: WordName.optional(),
  tags: z.array(WordName).max(64),
  pod: z.strictObject({ name: SubdomainName, uid: z.string().min(1).max(64) }).optional(),
  requester: z.string().min(1).max(256),
});

export const JoinTokenRequest = z
  .strictObject({ kind: z.enum(['session', 'operator']), session: SessionRequest.optional() })
  .refine((request) => (request.kind === 'session') === (request.session !== undefined), {
    error: 'session goes with kind session',
    path: ['session'],
  }) satisfies z.ZodType<JoinTokenRequestType>;

const Time = z.iso.datetime({ offset: true }).transform((text) => new Date(text).toISOString());

export const CaRotateRequest = z.strictObject({
  root: z.boolean().optional(),
}) satisfies z.ZodType<CaRotateRequestType>;

/** Query of GET /v1/admin/audit. */
export const AuditQuery = z.strictObject({
  chain: z.string().min(1).max(128).optional(),
  since: Time.optional(),
  until: Time.optional(),
  /** Several with commas between. */
  kind: z.string().max(1024).optional(),
  after: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).optional(),
  follow: z.enum(['true', 'false']).default('false'),
});

export const AuditPruneRequest = z.strictObject({ before: Time }) satisfies z.ZodType<AuditPruneRequestType>;
