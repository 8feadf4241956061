import { z } from 'zod';
import { AuditPruneRequest, AuditQuery, CaRotateRequest, JoinTokenRequest } from '../../../api/adminSchema.ts';
import { MATERIAL_CONTENT_TYPE } from '../../../api/fields.ts';
import { LiftQuery, RevocationRequest, SessionsQuery } from '../../../api/revocationSchema.ts';
import { KekSpec } from '../../../store/vault/kekSpec.ts';
import * as answers from './answers.ts';

/** One request of the admin API; the schema of a body or answer, or a content type where it is no JSON. */
export interface Operation {
  summary: string;
  query?: z.ZodType;
  body?: z.ZodType | string;
  /** Of success; absent: 204 without a body. */
  answer?: z.ZodType | string;
  /** One JSON object a line. */
  lines?: true;
  /** The answer may be 204 as well. */
  orNothing?: true;
}

export const OPERATIONS: Readonly<Record<string, Operation>> = {
  'POST /v1/admin/join-tokens': {
    summary: 'Invites a sidecar or the operator: the token is good for one join.',
    body: JoinTokenRequest,
    answer: answers.JoinTokenAnswer,
  },
  'GET /v1/admin/credentials': {
    summary: 'All credentials that are known, without their material.',
    answer: z.array(answers.AdminCredential),
  },
  'PUT /v1/admin/credentials/{namespace}/{name}/material': {
    summary: 'Sets the material of a credential whose source is the store.',
    body: MATERIAL_CONTENT_TYPE,
    answer: answers.StoredCredential,
  },
  'GET /v1/admin/credentials/{namespace}/{name}/material': {
    summary: 'Gives generated material to its owner; on record.',
    answer: MATERIAL_CONTENT_TYPE,
  },
  'DELETE /v1/admin/credentials/{namespace}/{name}/material': { summary: 'Removes the material of a credential.' },
  'GET /v1/admin/sessions': { summary: 'Sessions that have not ended.', answer: z.array(answers.AdminSession) },
  'DELETE /v1/admin/sessions': {
    summary: 'Ends the sessions of a pod, or one by its id, if there are any.',
    query: SessionsQuery,
  },
  'DELETE /v1/admin/sessions/{id}': { summary: 'Ends a session at once.' },
  'GET /v1/admin/revocations': { summary: 'What stands revoked.', answer: z.array(answers.Revocation) },
  'POST /v1/admin/revocations': {
    summary: 'Revokes, or tells what that would hit.',
    body: RevocationRequest,
    answer: answers.RevocationAnswer,
  },
  'DELETE /v1/admin/revocations': {
    summary: 'Lifts a revocation.',
    query: LiftQuery,
    answer: answers.Revocation,
  },
  'GET /v1/admin/ca': { summary: 'The CAs of the store.', answer: answers.CaStatus },
  'POST /v1/admin/ca/rotate': {
    summary: 'Replaces the intermediate CA, or begins to replace the root.',
    body: CaRotateRequest,
    answer: answers.CaStatus,
  },
  'GET /v1/admin/kek': {
    summary: 'The key encryption keys; answered by a sealed store too.',
    answer: answers.KekStatus,
  },
  'GET /v1/admin/kek/rotation': {
    summary: 'The rotation of the key encryption key that goes on, if one does.',
    answer: answers.KekRotationStatus,
    orNothing: true,
  },
  'POST /v1/admin/kek/rotate': {
    summary: 'Begins to wrap everything by a new key encryption key.',
    body: z.strictObject({ to: KekSpec.optional() }),
    answer: answers.KekStatus,
  },
  'POST /v1/admin/backup': {
    summary: 'An encrypted copy of the database; the body is a material frame that says under what.',
    body: MATERIAL_CONTENT_TYPE,
    answer: 'application/octet-stream',
  },
  'GET /v1/admin/audit': {
    summary: 'Entries of the audit, oldest first; with follow also those to come.',
    query: AuditQuery,
    answer: answers.AuditEntry,
    lines: true,
  },
  'GET /v1/admin/audit/head': { summary: 'The signed end of the chain of this process.', answer: answers.AuditHead },
  'GET /v1/admin/audit/chains': {
    summary: 'The chains of all processes that ever wrote.',
    answer: z.array(answers.AuditChain),
  },
  'POST /v1/admin/audit/prune': {
    summary: 'Forgets old entries behind signed checkpoints.',
    body: AuditPruneRequest,
    answer: z.array(answers.AuditPruned),
  },
  'POST /v1/admin/audit/key': {
    summary: 'Signs heads with a new key from now on.',
    answer: answers.AuditKeyAnswer,
  },
};
