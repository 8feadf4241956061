import type { Placement as PlacementSpec } from '../../api/integration.ts';
import { basic } from './basic.ts';
import { bearer } from './bearer.ts';
import { header } from './header.ts';
import { placeholder } from './placeholder.ts';
import type { Placement } from './placement.ts';
import { query } from './query.ts';

/** How each kind that the sidecar knows is compiled, given what the agent holds in place of the credential. */
type Compilers = {
  [Kind in keyof PlacementSpec]?: (spec: NonNullable<PlacementSpec[Kind]>, placeholder: string) => Placement;
};

const compilers: Compilers = { bearer, basic, header, query, placeholder };

/** None for a kind that this sidecar does not know: the operator accepts no such Integration. */
export function compilePlacement(spec: PlacementSpec, placeholderText: string): Placement[] {
  return (Object.keys(compilers) as (keyof Compilers)[]).flatMap((kind) => {
    const slot = spec[kind];
    // One kind's compiler takes that kind's spec; TypeScript cannot follow this through the map.
    const compile = compilers[kind] as ((spec: unknown, placeholder: string) => Placement) | undefined;
    return slot === undefined || compile === undefined ? [] : [compile(slot, placeholderText)];
  });
}
