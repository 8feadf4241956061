import type { Placement as PlacementSpec } from '../../api/integration.ts';
import { header } from './header.ts';
import type { Placement } from './placement.ts';

/** `Authorization: Bearer …` (RFC 6750 section 2.1). */
export function bearer(spec: NonNullable<PlacementSpec['bearer']>): Placement {
  return header({ ...spec, name: 'Authorization', format: 'Bearer {value}' });
}
