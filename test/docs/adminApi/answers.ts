import { z } from 'zod';
import type {
  AdminCredential as AdminCredentialType,
  AdminSession as AdminSessionType,
  AuditChain as AuditChainType,
  AuditCheckpoint as AuditCheckpointType,
  AuditEntry as AuditEntryType,
  AuditHead as AuditHeadType,
  AuditKeyAnswer as AuditKeyAnswerType,
  AuditPruned as AuditPrunedType,
  CaStatus as CaStatusType,
  JoinTokenAnswer as JoinTokenAnswerType,
} from '../../../api/admin.ts';
import type { KekRotationStatus as KekRotationStatusType, KekStatus as KekStatusType } from '../../../api/kek.ts';
import type { StoredCredential as StoredCredentialType, StoreError as StoreErrorType } from '../../../api/protocol.ts';
import type {
  RevocationAnswer as RevocationAnswerType,
  Revocation as RevocationType,
} from '../../../api/revocation.ts';
import { Selector } from '../../../api/revocationSchema.ts';

/**
 * The answers of the admin API as schemas: strict, so that a test that checks real answers by them fails for a member that they do not name.
 * They are here and not beside the requests because no process needs them.
 */
const Time = z.iso.datetime({ offset: true });
const Count = z.int().min(0);
const Source = z.enum(['secret', 'store', 'generated']);

export const StoreError = z.strictObject({ code: z.string(), message: z.string() }) satisfies z.ZodType<StoreErrorType>;

export const JoinTokenAnswer = z.strictObject({
  joinToken: z.string(),
  expiresInSeconds: z.number(),
  trustBundlePem: z.string(),
}) satisfies z.ZodType<JoinTokenAnswerType>;

export const StoredCredential = z.strictObject({
  key: z.string(),
  source: Source,
  version: Count,
  fields: z.array(z.string()),
  expiresAt: Time.optional(),
  usedUp: z.literal(true).optional(),
}) satisfies z.ZodType<StoredCredentialType>;

export const AdminCredential = StoredCredential.extend({
  source: Source.optional(),
  updatedAt: Time.optional(),
}) satisfies z.ZodType<AdminCredentialType>;

export const AdminSession = z.strictObject({
  id: z.string(),
  namespace: z.string(),
  serviceAccount: z.string(),
  role: z.string().optional(),
  tags: z.array(z.string()),
  pod: z.strictObject({ name: z.string(), uid: z.string() }).optional(),
  requester: z.string(),
  startedAt: Time,
  lastSeenAt: Time,
  leases: Count,
}) satisfies z.ZodType<AdminSessionType>;

export const Revocation = z.strictObject({
  id: z.string(),
  selector: Selector,
  at: Time,
  by: z.string(),
  reason: z.string(),
}) satisfies z.ZodType<RevocationType>;

export const RevocationAnswer = z.strictObject({
  dryRun: z.boolean(),
  already: z.boolean(),
  revocation: Revocation.optional(),
  sessionCount: Count,
  sessions: z.array(
    z.strictObject({
      id: z.string(),
      namespace: z.string(),
      serviceAccount: z.string(),
      role: z.string().optional(),
      tags: z.array(z.string()),
      requester: z.string(),
    }),
  ),
  leaseCount: Count,
  leases: z.array(
    z.strictObject({
      id: z.string(),
      session: z.string(),
      credential: z.string(),
      version: Count,
      expiresAt: Time,
    }),
  ),
}) satisfies z.ZodType<RevocationAnswerType>;

const CaCertificate = z.strictObject({
  id: z.string(),
  subject: z.string(),
  fingerprint: z.string(),
  validFrom: Time,
  validTo: Time,
  createdAt: Time,
  rotatesAt: Time.optional(),
  certificates: Count,
});
export const CaStatus = z.strictObject({
  roots: z.array(CaCertificate.extend({ state: z.enum(['active', 'published', 'retiring']) })),
  intermediates: z.array(CaCertificate.extend({ root: z.string(), state: z.enum(['active', 'retiring']) })),
  issuedByRoot: Count,
  rotation: z
    .strictObject({
      phase: z.enum(['published', 'switched']),
      root: z.string(),
      since: Time,
      notBefore: Time,
      waitsFor: Count,
    })
    .optional(),
}) satisfies z.ZodType<CaStatusType>;

export const KekRotationStatus = z.strictObject({
  to: z.string(),
  startedAt: Time,
  done: Count,
  total: Count,
  problem: z.string().optional(),
}) satisfies z.ZodType<KekRotationStatusType>;
export const KekStatus = z.strictObject({
  sealed: z.strictObject({ code: z.string(), message: z.string() }).optional(),
  keys: z.array(
    z.strictObject({
      id: z.string(),
      kind: z.string().optional(),
      where: z.string().optional(),
      createdAt: Time.optional(),
      current: z.boolean(),
      dataKeys: Count,
      ownKeys: Count,
    }),
  ),
  rotation: KekRotationStatus.optional(),
}) satisfies z.ZodType<KekStatusType>;

export const AuditHead = z.strictObject({
  chain: z.string().optional(),
  seq: Count,
  hash: z.string(),
  at: Time,
  signature: z.string(),
  publicKeyPem: z.string(),
}) satisfies z.ZodType<AuditHeadType>;
const AuditCheckpoint = AuditHead.extend({ pruned: Count }) satisfies z.ZodType<AuditCheckpointType>;
export const AuditEntry = z.strictObject({
  chain: z.string().optional(),
  seq: Count,
  at: Time,
  event: z.looseObject({ kind: z.string() }),
  previousHash: z.string(),
  hash: z.string(),
}) satisfies z.ZodType<AuditEntryType>;
export const AuditChain = z.strictObject({
  chain: z.string(),
  own: z.boolean(),
  head: AuditHead.optional(),
  checkpoint: AuditCheckpoint.optional(),
}) satisfies z.ZodType<AuditChainType>;
export const AuditPruned = z.strictObject({
  chain: z.string(),
  pruned: Count,
  checkpoint: AuditCheckpoint.optional(),
}) satisfies z.ZodType<AuditPrunedType>;
export const AuditKeyAnswer = z.strictObject({ publicKeyPem: z.string() }) satisfies z.ZodType<AuditKeyAnswerType>;
