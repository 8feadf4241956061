import { networkInterfaces } from 'node:os';
import { addressBytes } from '../../lib/addressBytes.ts';
import type { AllowedNetworks } from './allowedNetworks.ts';
import { inPrefix, type Prefix, parsePrefix } from './prefix.ts';

/** What an address is that no credential may be sent to unasked (data path rule 2). */
export type SpecialPurpose =
  | 'metadata'
  | 'unspecified'
  | 'loopback'
  | 'private'
  | 'shared'
  | 'link-local'
  | 'multicast'
  | 'reserved';

/**
 * IANA's IPv4 and IPv6 special-purpose registries (RFC 6890 and its updates). Of IPv6 only 2000::/3 is given out (RFC 4291 section
 * 2.4), so everything else is reserved by the last row, and the rows before it only find a better word. Well-known translation
 * prefixes (`::ffff:0:0/96`, `64:ff9b::/96`) are judged by the address that they carry.
 */
const SPECIAL: readonly [SpecialPurpose, ...Prefix[]][] = [
  ['unspecified', ...prefixes('0.0.0.0/8', '::/128')],
  ['loopback', ...prefixes('127.0.0.0/8', '::1/128')],
  ['private', ...prefixes('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7', 'fec0::/10')],
  ['shared', ...prefixes('100.64.0.0/10')],
  ['link-local', ...prefixes('169.254.0.0/16', 'fe80::/10')],
  ['multicast', ...prefixes('224.0.0.0/4', 'ff00::/8')],
  [
    'reserved',
    ...prefixes('192.0.0.0/24', '192.0.2.0/24', '192.31.196.0/24', '192.52.193.0/24', '192.88.99.0/24'),
    ...prefixes('192.175.48.0/24', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '240.0.0.0/4'),
    ...prefixes('2001::/23', '2001:db8::/32', '2002::/16', '2620:4f:8000::/48', '3fff::/20'),
  ],
];
const GLOBAL_UNICAST = parsePrefix('2000::/3');
const MAPPED = parsePrefix('::ffff:0:0/96');
const NAT64 = parsePrefix('64:ff9b::/96');
const NAT64_LOCAL = parsePrefix('64:ff9b:1::/48');
const SIX_TO_FOUR = parsePrefix('2002::/16');
const TEREDO = parsePrefix('2001::/32');
const COMPATIBLE = parsePrefix('::/96');

/**
 * Where clouds hand out credentials to whoever asks: never allowed by a network that merely covers them.
 * AWS, Google, Azure and most others; AWS on IPv6; ECS and EKS tasks; Azure's wire server; Oracle; Alibaba; Google on IPv6.
 */
const METADATA = [
  '169.254.169.254',
  'fd00:ec2::254',
  '169.254.170.2',
  '169.254.170.23',
  'fd00:ec2::23',
  '168.63.129.16',
  '192.0.0.192',
  '100.100.100.200',
  'fd20:ce::254',
].map(parsePrefix);

/**
 * Why a credential must not be sent to the address, or undefined if it may.
 *
 * An IPv6 address that carries an IPv4 one is judged as both, and both must be fit; `allowed` makes what it covers fit, metadata
 * services only where it names the very address.
 */
export function judgeAddress(address: string, allowed: AllowedNetworks | undefined): SpecialPurpose | undefined {
  const bytes = addressBytes(withoutZone(address));
  if (bytes === undefined) return 'reserved';
  for (const form of formsOf(bytes)) {
    const purpose = specialPurpose(form);
    if (purpose === undefined || allowed === undefined) {
      if (purpose !== undefined) return purpose;
    } else if (purpose === 'metadata' ? !allowed.name(form) : !allowed.cover(form)) return purpose;
  }
  return undefined;
}

/** Whether the address is loopback, or unspecified, which the kernel takes for loopback. */
export function isLoopback(address: string): boolean {
  const bytes = addressBytes(withoutZone(address));
  return bytes !== undefined && formsOf(bytes).some(isLoopbackForm);
}

/** Whether the address leads to this very machine: loopback, or that of one of its interfaces. */
export function isThisMachine(address: string): boolean {
  const bytes = addressBytes(withoutZone(address));
  if (bytes === undefined) return false;
  const own = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return formsOf(bytes).some(
    (form) => isLoopbackForm(form) || own.some((item) => addressBytes(withoutZone(item.address))?.equals(form)),
  );
}

function isLoopbackForm(form: Buffer): boolean {
  const purpose = specialPurpose(form);
  return purpose === 'loopback' || purpose === 'unspecified';
}

function withoutZone(address: string): string {
  const zone = address.indexOf('%');
  return zone === -1 ? address : address.slice(0, zone);
}

/** The address itself unless a translation prefix only carries another, and every IPv4 address in it. */
function formsOf(bytes: Buffer): Buffer[] {
  if (bytes.length === 4) return [bytes];
  const last = bytes.subarray(12);
  if (inPrefix(MAPPED, bytes) || inPrefix(NAT64, bytes)) return [last];
  if (inPrefix(SIX_TO_FOUR, bytes)) return [bytes, bytes.subarray(2, 6)];
  // The client's address is stored inverted, behind that of its server (RFC 4380 section 4).
  if (inPrefix(TEREDO, bytes)) return [bytes, bytes.subarray(4, 8), last.map((byte) => byte ^ 0xff) as Buffer];
  if (inPrefix(NAT64_LOCAL, bytes)) return [bytes, last];
  // `::` and `::1` carry no IPv4 address.
  if (inPrefix(COMPATIBLE, bytes) && bytes.readUInt32BE(12) > 1) return [bytes, last];
  return [bytes];
}

function specialPurpose(bytes: Buffer): SpecialPurpose | undefined {
  if (METADATA.some((prefix) => inPrefix(prefix, bytes))) return 'metadata';
  for (const [purpose, ...members] of SPECIAL) {
    if (members.some((prefix) => inPrefix(prefix, bytes))) return purpose;
  }
  return bytes.length === 16 && !inPrefix(GLOBAL_UNICAST, bytes) ? 'reserved' : undefined;
}

function prefixes(...cidrs: string[]): Prefix[] {
  return cidrs.map(parsePrefix);
}
