import { z } from 'zod';
import { LabelName, WordName } from './metadata.ts';
import { ObjectKey } from './protocolSchema.ts';
import type { RevocationRequest as RevocationRequestType, Selector as SelectorType } from './revocation.ts';

const Id = z
  .string()
  .min(1)
  .max(64)
  .regex(/^[-\w]+$/, { error: 'expected letters, digits and dashes' });
const ServiceAccount = z
  .string()
  .min(1)
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, { error: 'expected the name of a ServiceAccount' });
const namespace = LabelName.optional();

export const Selector = z.union([
  z.strictObject({ lease: Id }),
  z.strictObject({ session: Id }),
  z.strictObject({ pod: Id }),
  z.strictObject({ role: WordName, namespace }),
  z.strictObject({ tag: WordName, namespace }),
  z.strictObject({ serviceAccount: ServiceAccount, namespace: LabelName }),
  z.strictObject({ namespace: LabelName }),
  z.strictObject({ credential: ObjectKey }),
  z.strictObject({ everything: z.literal(true) }),
]) satisfies z.ZodType<SelectorType>;

export const RevocationRequest = z.strictObject({
  selector: Selector,
  reason: z
    .string()
    .max(512)
    .regex(/^[^\p{Cc}]*$/u, { error: 'expected one line of text' })
    .optional(),
  dryRun: z.boolean().optional(),
}) satisfies z.ZodType<RevocationRequestType>;

/** Query of DELETE /v1/admin/revocations. */
export const LiftQuery = z.strictObject({ id: z.string().min(1).max(512) });

/** Query of DELETE /v1/sessions and DELETE /v1/admin/sessions: one of both. */
export const SessionsQuery = z.union([z.strictObject({ pod: Id }), z.strictObject({ session: Id })]);
