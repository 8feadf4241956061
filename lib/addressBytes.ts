import { isIPv4, isIPv6 } from 'node:net';

/** The 4 or 16 bytes of an IP address literal in any spelling that node:net takes, without zone; undefined if it is none. */
export function addressBytes(address: string): Buffer | undefined {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  if (!isIPv6(address) || address.includes('%')) return undefined;
  const bytes = Buffer.alloc(16);
  const [head, tail] = address.split('::').map(halfBytes);
  bytes.set(head!);
  if (tail !== undefined) bytes.set(tail, 16 - tail.length);
  return bytes;
}

/** Bytes of the groups on one side of `::`; the last group may be a dotted IPv4 address (RFC 4291 section 2.2). */
function halfBytes(half: string): number[] {
  if (half === '') return [];
  return half.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}
