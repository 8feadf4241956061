import { z } from 'zod';
import { SecretMetadata } from './metadata.ts';

/** A core/v1 Secret, as far as a Credential reads it; `data` is base64, `stringData` plain and stronger. */
export const Secret = z.strictObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Secret'),
  metadata: SecretMetadata,
  type: z.string().optional(),
  immutable: z.boolean().optional(),
  data: z.record(z.string(), z.base64()).optional(),
  stringData: z.record(z.string(), z.string()).optional(),
});
export type Secret = z.infer<typeof Secret>;
