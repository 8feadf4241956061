/**
 * Material on the wire and at rest: a sequence of fields, so that secret bytes never pass through JSON or a string.
 *
 * Layout, repeated to the end: u8 length of the name, the name (ASCII), u32 big-endian length of the bytes, the bytes.
 */
export const MATERIAL_CONTENT_TYPE = 'application/vnd.sidekey.material';
export const MATERIAL_LIMIT_BYTES = 64 * 1024;
export const FIELDS_LIMIT = 8;
/** The field a credential has when its source names none. */
export const DEFAULT_FIELD = 'value';

/** One Buffer with all fields; the caller overwrites it after use. @throws RangeError if a field or the whole is too large. */
export function encodeFields(fields: Iterable<readonly [string, Uint8Array]>): Buffer {
  const all = [...fields];
  const length = all.reduce((sum, [name, bytes]) => sum + 1 + name.length + 4 + bytes.length, 0);
  if (all.length > FIELDS_LIMIT)
    throw new RangeError(`material has ${all.length} fields, at most ${FIELDS_LIMIT} are taken`);
  if (length > MATERIAL_LIMIT_BYTES)
    throw new RangeError(`material is ${length} bytes, at most ${MATERIAL_LIMIT_BYTES} are taken`);
  // Memory of its own, as lib/secretBuffer.ts says why.
  const frame = Buffer.from(new ArrayBuffer(length));
  let at = 0;
  for (const [name, bytes] of all) {
    if (name.length === 0 || name.length > 63) throw new RangeError('a field name has 1 to 63 characters');
    at = frame.writeUInt8(name.length, at);
    at += frame.write(name, at, 'latin1');
    at = frame.writeUInt32BE(bytes.length, at);
    frame.set(bytes, at);
    at += bytes.length;
  }
  return frame;
}

/** The fields of a frame as views into it (copy before overwriting it). @throws RangeError if the frame is cut short or repeats a name. */
export function decodeFields(frame: Buffer): Map<string, Buffer> {
  const fields = new Map<string, Buffer>();
  let at = 0;
  while (at < frame.length) {
    const nameEnd = at + 1 + frame.readUInt8(at);
    if (nameEnd + 4 > frame.length) throw new RangeError('material frame is cut short');
    const name = frame.toString('latin1', at + 1, nameEnd);
    const end = nameEnd + 4 + frame.readUInt32BE(nameEnd);
    if (end > frame.length) throw new RangeError('material frame is cut short');
    if (name === '' || fields.has(name) || fields.size === FIELDS_LIMIT)
      throw new RangeError('material frame has an empty or repeated name, or too many fields');
    fields.set(name, frame.subarray(nameEnd + 4, end));
    at = end;
  }
  return fields;
}
