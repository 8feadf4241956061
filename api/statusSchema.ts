import { z } from 'zod';

const Text = (max: number) => z.string().max(max);

/** metav1.Condition; `type` and `reason` are open, so that what another version has written can still be read. */
const Condition = z.strictObject({
  type: Text(316)
    .regex(/^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/)
    .describe('What the condition is about, in the words of docs/conditions.md.'),
  status: z.enum(['True', 'False', 'Unknown']).describe('Whether it is so.'),
  observedGeneration: z.int().min(0).optional().describe('The generation of the spec that it was decided for.'),
  lastTransitionTime: z.iso.datetime().describe('When the status of the condition last changed.'),
  reason: Text(1024)
    .min(1)
    .regex(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/)
    .describe('Why, in one word out of the table in docs/conditions.md.'),
  message: Text(32_768).describe('What is wrong with this very object, and what to do next.'),
});

const common = {
  observedGeneration: z.int().min(0).optional().describe('The generation of the spec that the status is about.'),
  conditions: z
    .array(Condition)
    .max(16)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] }),
};

/** Written by the operator alone, through the subresource. */
export const CredentialStatus = z.strictObject({
  ...common,
  conditions: common.conditions.describe(
    'Ready sums up SourceResolved (the source could be read) and Stored (the store holds the material, encrypted).',
  ),
  source: Text(64).optional().describe('Which kind of source it has.'),
  version: z.int().min(0).optional().describe('The version of the material in force; 0: none yet.'),
  expirationTime: z.iso
    .datetime()
    .optional()
    .describe('When the version in force has lived as long as maxLifetime lets it.'),
  placeholder: Text(256).optional().describe("What an agent uses in the credential's stead; worthless anywhere else."),
});

/** Written by the operator alone, through the subresource. */
export const IntegrationStatus = z.strictObject({
  ...common,
  conditions: common.conditions.describe(
    'Ready sums up Accepted (valid by itself), ResolvedRefs (its Credential exists and may be used) and Programmed (sidecars have it); HostConflict tells of an older Integration that wins.',
  ),
});
