import { decodeFields, encodeFields } from '../../api/fields.ts';
import { WordName } from '../../api/metadata.ts';
import { errorText } from '../../lib/errors.ts';
import { storeError } from '../errors.ts';

/**
 * A material frame with its fields in order of name, so that equal material is equal bytes, and those names.
 *
 * Takes over `received` and overwrites it. @throws MalformedRequest
 */
export function canonicalFrame(received: Buffer): { frame: Buffer; fields: string[] } {
  try {
    const entries = [...decodeFields(received)].sort(([a], [b]) => (a < b ? -1 : 1));
    if (entries.length === 0) throw new RangeError('material has no field');
    for (const [name, bytes] of entries) {
      if (!WordName.safeParse(name).success)
        throw new RangeError('a field name has letters, digits, dashes, dots and underscores');
      if (bytes.length === 0) throw new RangeError(`field ${name} is empty`);
    }
    return { frame: encodeFields(entries), fields: entries.map(([name]) => name) };
  } catch (error) {
    throw storeError('MalformedRequest', `The material frame is not valid: ${errorText(error)}.`);
  } finally {
    received.fill(0);
  }
}
