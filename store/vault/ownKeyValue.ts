import type { WrappedKey } from './kek.ts';

/** No other value in the meta table begins so, which is how a rotation finds every own key. */
const MAGIC = Buffer.from('sidekey own key\0');
/** First byte of an own key as the first version of the store wrote it: what its only key wrapped, without saying so. */
const BARE_LAYOUT = 1;

/** A key of the store itself as the meta table has it: `kekId` and what that wrapped. */
export function encodeOwnKey({ kekId, wrapped }: WrappedKey): Buffer {
  return Buffer.concat([MAGIC, Buffer.from(`${kekId}\0`), wrapped]);
}

/** Undefined for what is no own key. `kekId` is empty where it is not said. */
export function decodeOwnKey(value: Buffer): WrappedKey | undefined {
  if (value[0] === BARE_LAYOUT) return { kekId: '', wrapped: value };
  if (!value.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const end = value.indexOf(0, MAGIC.length);
  if (end < 0) return undefined;
  return { kekId: value.toString('latin1', MAGIC.length, end), wrapped: value.subarray(end + 1) };
}
