import { DEFAULT_FIELD } from '../../api/fields.ts';
import type { Placement as PlacementSpec } from '../../api/integration.ts';
import type { Material } from '../../lib/material.ts';
import { type Refusal, refuse } from '../errors.ts';
import { base64 } from './base64.ts';
import { echoForms, NEEDLE_MIN_BYTES } from './echoForms.ts';
import type { Placement } from './placement.ts';
import { hasControlBytes, secretField, unfitForHeader } from './secretField.ts';

const BEFORE = Buffer.from('Authorization: Basic ');
const COLON = 0x3a;
const EMPTY = Buffer.alloc(0);
const CRLF = Buffer.from('\r\n');

/** `Authorization: Basic …` (RFC 7617). */
export function basic(spec: NonNullable<PlacementSpec['basic']>): Placement {
  const { usernameField } = spec;
  const fixedUsername = Buffer.from(spec.username ?? '');
  const passwordField = spec.passwordField ?? (usernameField === undefined ? DEFAULT_FIELD : undefined);
  return {
    prepare(material, secrets) {
      const username = usernameField === undefined ? fixedUsername : fieldOf(material, usernameField);
      if ('kind' in username) return username;
      if (username.includes(COLON)) {
        return refuse('CredentialUnavailable', 'The user name of the credential holds a colon (RFC 7617 section 2).');
      }
      const password = passwordField === undefined ? EMPTY : fieldOf(material, passwordField);
      if ('kind' in password) return password;
      const encoded = base64(secrets.concat([username, Buffer.of(COLON), password]), secrets);
      // A user name beside a password is public, and part of many honest answers (Twilio's account SID); alone it is the secret.
      const secret = passwordField === undefined ? username : password;
      return {
        line: { key: 'authorization', bytes: secrets.concat([BEFORE, encoded, CRLF]) },
        needles: [...echoForms(secret, secrets), ...(encoded.length < NEEDLE_MIN_BYTES ? [] : [encoded])],
      };
    },
  };
}

function fieldOf(material: Material, field: string): Buffer | Refusal {
  const bytes = secretField(material, field);
  return 'kind' in bytes || !hasControlBytes(bytes) ? bytes : unfitForHeader(field);
}
