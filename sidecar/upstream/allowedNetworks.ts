import { inPrefix, type Prefix, parsePrefix } from './prefix.ts';

/**
 * The `allowedNetworks` of an Integration, compiled: which special addresses its credentialed requests may go to nevertheless.
 *
 * This is the type of `Entry.networks` and `Target.networks`; a net.BlockList cannot tell an address that is named from one that
 * is merely covered, which addresses.ts needs to keep metadata services out of `0.0.0.0/0`.
 */
export class AllowedNetworks {
  readonly #prefixes: readonly Prefix[];

  /** @throws RangeError if one of `cidrs` is no network, such as `10.0.0.0/8`, `fd00::/8` or `192.168.1.5`. */
  constructor(cidrs: readonly string[]) {
    this.#prefixes = cidrs.map(parsePrefix);
  }

  /** Whether a network holds the address of 4 or 16 bytes. */
  cover(address: Buffer): boolean {
    return this.#prefixes.some((prefix) => inPrefix(prefix, address));
  }

  /** Whether a /32 or /128 is this very address. */
  name(address: Buffer): boolean {
    return this.#prefixes.some((prefix) => prefix.bits === address.length * 8 && inPrefix(prefix, address));
  }
}
