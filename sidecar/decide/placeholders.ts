import { PLACEHOLDER_MARK } from '../../api/placeholder.ts';

const BASIC = /\nauthorization:[ \t]*basic[ \t]+([a-z0-9+/]+)/i;

/** Marks of the placeholders in a request head, without the prefix that made them well formed; each once. Nearly always none. */
export function placeholdersIn(text: string): readonly string[] {
  return text.includes(PLACEHOLDER_MARK) ? marksIn(text) : NONE;
}

/** The same for the one place where clients encode what they hold: Basic authorization (RFC 7617). */
export function placeholdersInBasic(text: string): readonly string[] {
  const encoded = BASIC.exec(text)?.[1];
  return encoded === undefined ? NONE : placeholdersIn(Buffer.from(encoded, 'base64').toString('latin1'));
}

const NONE: readonly string[] = [];

/** Built here, so that the mark is written in one place only. */
const MARKED = new RegExp(`${PLACEHOLDER_MARK}[0-9a-f]{32}`, 'g');

function marksIn(text: string): readonly string[] {
  return [...new Set(text.match(MARKED))];
}
