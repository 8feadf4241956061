/** One of the `hosts` of an Integration, taken apart (api/host.ts has the schema, which costs the sidecar too much memory). */
export interface HostPattern {
  /** Lower case, without `*.` */
  readonly name: string;
  /** Whether exactly one label comes before the name. */
  readonly wildcard: boolean;
  /** Under either scheme; undefined: the scheme's own. */
  readonly port: number | undefined;
}

/** Takes apart `host[:port]` or `*.host[:port]` that the schema has accepted. */
export function parseHostPattern(pattern: string): HostPattern {
  const colon = pattern.lastIndexOf(':');
  const name = (colon === -1 ? pattern : pattern.slice(0, colon)).toLowerCase();
  const wildcard = name.startsWith('*.');
  return {
    name: wildcard ? name.slice(2) : name,
    wildcard,
    port: colon === -1 ? undefined : Number(pattern.slice(colon + 1)),
  };
}
