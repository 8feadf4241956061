import { z } from 'zod';
import { USES_LIMIT } from './credential.ts';
import { HostPattern } from './host.ts';
import { CIDR, Placement, Rule } from './integration.ts';
import { LabelName, WordName } from './metadata.ts';
import type {
  CredentialRecord as CredentialRecordType,
  IntegrationRecord as IntegrationRecordType,
  JoinRequest as JoinRequestType,
  LeaseRequest as LeaseRequestType,
  RenewRequest as RenewRequestType,
  UsageReport as UsageReportType,
} from './protocol.ts';

/** Most usage records that one report may carry. */
export const USAGE_RECORDS_LIMIT = 1024;

/** `namespace/name` */
export const ObjectKey = z
  .string()
  .max(127)
  .refine((key) => key.split('/').length === 2 && key.split('/').every((part) => LabelName.safeParse(part).success), {
    error: 'expected namespace/name',
  });

/** A year, as in the objects (duration.ts). */
const Seconds = z.int().min(1).max(31_536_000);
const Count = z.int().min(0);
const PublicKeyPem = z.string().min(1).max(1024);

export const JoinRequest = z.union([
  z.strictObject({ joinToken: z.string().min(1).max(128), publicKeyPem: PublicKeyPem }),
  // A JSON Web Token of the API server, of a kilobyte or so.
  z.strictObject({ serviceAccountToken: z.string().min(1).max(16_384), publicKeyPem: PublicKeyPem }),
]) satisfies z.ZodType<JoinRequestType>;

/** Of PUT /v1/sessions?pod=UID. */
export const SessionSubject = z.strictObject({
  role: z.string().min(1).max(63).optional(),
  tags: z.array(z.string().min(1).max(63)).max(256),
});
export const PodQuery = z.strictObject({ pod: z.string().min(1).max(128) });

export const RenewRequest = z.strictObject({ publicKeyPem: PublicKeyPem }) satisfies z.ZodType<RenewRequestType>;

export const LeaseRequest = z.strictObject({
  credential: ObjectKey,
  refusedVersion: z.int().min(1).optional(),
  single: z.literal(true).optional(),
}) satisfies z.ZodType<LeaseRequestType>;

/** Query of the event stream; members that a newer sidecar sends are dropped. */
export const EventsQuery = z.object({ cursor: z.string().max(256).optional() });

const RequestId = z.string().min(1).max(64).optional();

/** Members that a newer sidecar sends are dropped, not refused. */
const UsageRecord = z.object({
  requestId: RequestId,
  lastRequestId: RequestId,
  atMs: Count,
  count: z.int().min(1),
  authority: z.string().max(270),
  method: z.string().max(32),
  path: z.string().max(2048),
  status: z.int().min(0).max(999),
  refusal: z.string().max(64).optional(),
  integration: ObjectKey.optional(),
  rule: z.int().min(1).optional(),
  credential: ObjectKey.optional(),
  version: Count.optional(),
  leaseId: z.string().max(64).optional(),
  bytesUp: Count,
  bytesDown: Count,
  durationMs: z.number().min(0),
});

export const UsageReport = z.object({
  records: z.array(UsageRecord).max(USAGE_RECORDS_LIMIT),
  dropped: Count,
  strict: z.literal(true).optional(),
}) satisfies z.ZodType<UsageReportType>;

export const CredentialRecord = z
  .strictObject({
    hosts: z.array(HostPattern).min(1).max(32),
    leaseSeconds: z.int().min(1).max(86_400),
    consumerNamespaces: z.array(z.union([z.literal('*'), LabelName])).max(1024),
    maxUses: z.int().min(1).max(USES_LIMIT).optional(),
    maxLifetimeSeconds: Seconds.optional(),
    auditStrict: z.literal(true).optional(),
    source: z.enum(['secret', 'store', 'generated']),
    generated: z
      .strictObject({
        bytes: z.int().min(16).max(128),
        encoding: z.enum(['Base64URL', 'Hex', 'Alphanumeric']),
        rotateSeconds: Seconds.optional(),
        overlapSeconds: Seconds.optional(),
      })
      .optional(),
  })
  .refine((record) => (record.source === 'generated') === (record.generated !== undefined), {
    error: 'generated goes with source generated',
    path: ['generated'],
  }) satisfies z.ZodType<CredentialRecordType>;

const Words = z.array(WordName).min(1).max(16).optional();

export const IntegrationRecord = z.strictObject({
  createdAt: z.iso.datetime(),
  credential: ObjectKey,
  hosts: z.array(HostPattern).min(1).max(16),
  alias: LabelName.optional(),
  inject: z.array(Placement).min(1).max(4),
  rules: z.array(Rule).max(32),
  limits: z.array(z.strictObject({ requests: z.int().min(1), windowSeconds: Seconds })).max(8),
  placeholder: z.string().min(1).max(256),
  allowedNetworks: z.array(CIDR).max(16),
  allowPlaintext: z.boolean(),
  subjects: z.strictObject({
    tags: Words,
    roles: Words,
    serviceAccounts: z.array(z.string().min(1).max(253)).min(1).max(16).optional(),
  }),
}) satisfies z.ZodType<IntegrationRecordType>;

/** Largest JSON body of each of the routes above. */
export const JSON_LIMIT_BYTES = 1024 * 1024;
