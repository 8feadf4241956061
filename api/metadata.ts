import { z } from 'zod';

export const API_VERSION = 'sidekey.dev/v1alpha1';
export const DEFAULT_NAMESPACE = 'default';

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** A DNS label: what names of our kinds, namespaces and aliases are (RFC 1123). */
export const LabelName = z
  .string()
  .min(1)
  .max(63)
  .regex(LABEL, { error: 'expected lower-case letters, digits and dashes, at most 63, such as openai-key' });
/** A DNS subdomain: what names of Secrets are (RFC 1123). */
export const SubdomainName = z
  .string()
  .min(1)
  .max(253)
  .regex(SUBDOMAIN, { error: 'expected lower-case letters, digits, dashes and dots' });
const WORD = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
/** A tag, role or field name: a Kubernetes label value that is not empty. */
export const WordName = z
  .string()
  .min(1)
  .max(63)
  .regex(WORD, { error: 'expected letters, digits, dashes, dots and underscores' });
/** The same as the key of a map (collection.ts). */
export const WORD_KEY = {
  pattern: WORD,
  maxLength: 63,
  message: 'expected names of letters, digits, dashes, dots and underscores',
};

const Labels = z.record(z.string(), z.string());

function metadata<Name extends z.ZodType>(name: Name) {
  // Loose: the API server adds fields of its own (uid, managedFields…), which are none of ours.
  return z.looseObject({
    name,
    namespace: LabelName.default(DEFAULT_NAMESPACE),
    creationTimestamp: z.union([z.iso.datetime(), z.date().transform((d) => d.toISOString())]).optional(),
    generation: z.int().optional(),
    uid: z.string().optional(),
    labels: Labels.optional(),
    annotations: Labels.optional(),
  });
}

export const Metadata = metadata(LabelName);
export const SecretMetadata = metadata(SubdomainName);

/** `namespace/name`, the key of an object everywhere in Sidekey. */
export function objectKey(metadata: { namespace: string; name: string }): string {
  return `${metadata.namespace}/${metadata.name}`;
}
