import { addressBytes } from '../../lib/addressBytes.ts';

/** A network in CIDR notation, as the bytes it starts with. */
export interface Prefix {
  readonly bytes: Buffer;
  readonly bits: number;
}

/** @throws RangeError if `cidr` is none, such as `10.0.0.0/8` or `fd00::/8` (a bare address is a network of one). */
export function parsePrefix(cidr: string): Prefix {
  const [address = '', length, ...rest] = cidr.split('/');
  const bytes = addressBytes(address);
  const bits = length === undefined ? (bytes?.length ?? 0) * 8 : /^[0-9]{1,3}$/.test(length) ? Number(length) : -1;
  if (bytes === undefined || bits < 0 || bits > bytes.length * 8 || rest.length > 0) {
    throw new RangeError(`not a network: ${JSON.stringify(cidr)}`);
  }
  return { bytes, bits };
}

/** Whether an address of 4 or 16 bytes is in the network; never, if they are of different families. */
export function inPrefix(prefix: Prefix, address: Buffer): boolean {
  const { bits, bytes } = prefix;
  if (bytes.length !== address.length) return false;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (bytes[i] !== address[i]) return false;
  return (bits & 7) === 0 || (bytes[whole]! ^ address[whole]!) >> (8 - (bits & 7)) === 0;
}
