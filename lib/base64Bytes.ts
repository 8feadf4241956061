import { secretBuffer } from './secretBuffer.ts';

const ALPHABET = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
const PAD = 0x3d;
const VALUES = new Int8Array(256).fill(-1);
for (const [value, code] of ALPHABET.entries()) VALUES[code] = value;

/** Base64 (RFC 4648 section 4, padded) of secret bytes as secret bytes: a string of them could not be overwritten. */
export function encodeBase64(bytes: Buffer): Buffer {
  const encoded = secretBuffer(Math.ceil(bytes.length / 3) * 4);
  let at = 0;
  for (let i = 0; i < bytes.length; i += 3) {
    const [a, b, c] = [bytes[i]!, bytes[i + 1], bytes[i + 2]];
    encoded[at] = ALPHABET[a >> 2]!;
    encoded[at + 1] = ALPHABET[((a & 3) << 4) | ((b ?? 0) >> 4)]!;
    encoded[at + 2] = b === undefined ? PAD : ALPHABET[((b & 15) << 2) | ((c ?? 0) >> 6)]!;
    encoded[at + 3] = c === undefined ? PAD : ALPHABET[c & 63]!;
    at += 4;
  }
  return encoded;
}

/** The other way, strictly; undefined for what is no base64. */
export function decodeBase64(encoded: Buffer): Buffer | undefined {
  const { length } = encoded;
  if (length % 4 !== 0) return undefined;
  const pads = length === 0 || encoded[length - 1] !== PAD ? 0 : encoded[length - 2] === PAD ? 2 : 1;
  const decoded = secretBuffer((length / 4) * 3 - pads);
  let at = 0;
  let bits = 0;
  let held = 0;
  for (let i = 0; i < length - pads; i += 1) {
    const value = VALUES[encoded[i]!]!;
    if (value < 0) {
      decoded.fill(0);
      return undefined;
    }
    held = ((held << 6) | value) & 0xfff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    decoded[at] = (held >> bits) & 0xff;
    at += 1;
  }
  return decoded;
}
