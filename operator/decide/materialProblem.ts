import { MATERIAL_LIMIT_BYTES } from '../../api/fields.ts';

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const FIRST_PRINTABLE = 0x20;
const DELETE = 0x7f;

/**
 * Why bytes cannot be placed in a request, and how to give better ones; undefined if they can. The text tells nothing of them.
 *
 * Nothing is stripped: what is stored is what was given, or nothing.
 */
export function materialProblem(bytes: Buffer): string | undefined {
  if (bytes.length === 0) return 'is empty; give it a value';
  if (bytes.length > MATERIAL_LIMIT_BYTES)
    return `has ${bytes.length} bytes; at most ${MATERIAL_LIMIT_BYTES} are taken`;
  const at = bytes.findIndex((byte) => byte < FIRST_PRINTABLE || byte === DELETE);
  if (at < 0) return undefined;
  const lineBreak = bytes[at] === LINE_FEED || (bytes[at] === CARRIAGE_RETURN && bytes[at + 1] === LINE_FEED);
  if (lineBreak && at >= bytes.length - 2 && bytes.at(-1) === LINE_FEED)
    return (
      'ends with a line break, which cannot be part of a header; ' +
      'write the value on the line of its key (or use |- instead of |), or encode it with printf %s VALUE | base64'
    );
  return `has ${lineBreak ? 'a line break' : 'a control byte'} at position ${at + 1}, which cannot be placed in a request; remove it`;
}
