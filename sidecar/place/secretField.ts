import { DEFAULT_FIELD } from '../../api/fields.ts';
import type { Material } from '../../lib/material.ts';
import { type Refusal, refuse } from '../errors.ts';

/** The bytes of one field of the material, `value` if none is named, not a copy; a refusal if it is absent or empty. */
export function secretField(material: Material, field: string = DEFAULT_FIELD): Buffer | Refusal {
  const bytes = material.bytes(field);
  if (bytes !== undefined && bytes.length > 0) return bytes;
  return refuse('CredentialUnavailable', `The credential has no field ${field}, or it is empty.`);
}

/** The same for use in a header: a line break in it would let it write further headers (RFC 9110 section 5.5). */
export function headerField(material: Material, field: string = DEFAULT_FIELD): Buffer | Refusal {
  const bytes = secretField(material, field);
  return 'kind' in bytes || !hasControlBytes(bytes) ? bytes : unfitForHeader(field);
}

export function unfitForHeader(field: string = DEFAULT_FIELD): Refusal {
  return refuse(
    'CredentialUnavailable',
    `Field ${field} of the credential holds line breaks or other control bytes, so it cannot stand in a header.`,
  );
}

export function hasControlBytes(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i]! < 0x20 || bytes[i] === 0x7f) return true;
  return false;
}
