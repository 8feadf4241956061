import type { SecretBuffers } from './secretBuffers.ts';

const HEX = Buffer.from('0123456789abcdef');
const BACKSLASH = 0x5c;
/** The letter after the backslash, by byte (RFC 8259 section 7). */
const SHORT = new Uint8Array(256);
for (const [byte, letter] of [
  [0x08, 'b'],
  [0x09, 't'],
  [0x0a, 'n'],
  [0x0c, 'f'],
  [0x0d, 'r'],
  [0x22, '"'],
  [0x5c, '\\'],
] as const) {
  SHORT[byte] = letter.charCodeAt(0);
}

/** As it stands inside a JSON string, as JSON.stringify writes it; `bytes` itself if there is nothing to escape. */
export function jsonEscaped(bytes: Buffer, secrets: SecretBuffers): Buffer {
  let size = 0;
  for (let i = 0; i < bytes.length; i++) size += sizeOf(bytes[i]!);
  if (size === bytes.length) return bytes;
  const escaped = secrets.alloc(size);
  let at = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    switch (sizeOf(byte)) {
      case 1:
        escaped[at++] = byte;
        break;
      case 2:
        escaped[at++] = BACKSLASH;
        escaped[at++] = SHORT[byte]!;
        break;
      default:
        at += escaped.write('\\u00', at, 'latin1');
        escaped[at++] = HEX[byte >> 4]!;
        escaped[at++] = HEX[byte & 15]!;
    }
  }
  return escaped;
}

function sizeOf(byte: number): number {
  if (SHORT[byte] !== 0) return 2;
  return byte < 0x20 ? 6 : 1;
}
