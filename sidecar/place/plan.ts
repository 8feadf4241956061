import type { Grant } from '../../api/grant.ts';
import type { Material } from '../../lib/material.ts';
import type { Refusal } from '../errors.ts';
import type { HeldLease } from '../grants/lease.ts';
import { Draft } from './draft.ts';
import type { Placed, PlaceRequest } from './placed.ts';
import type { Placement, Prepared } from './placement.ts';
import { compilePlacement } from './placements.ts';
import { SecretBuffers } from './secretBuffers.ts';

export type { BodySubstitution, Placed, PlaceRequest } from './placed.ts';

/** A plan's share of one lease: everything of the material that can be computed before a request comes. */
interface Ready {
  readonly placed: Placed | Refusal;
  readonly perRequest: readonly NonNullable<Prepared['place']>[];
  readonly needles: readonly Buffer[];
  destroy(): void;
}

/** Where the material of one Integration goes in a request, compiled once per change of its grant. */
export class Plan {
  readonly #placements: readonly Placement[];

  private constructor(placements: readonly Placement[]) {
    this.#placements = placements;
  }

  /** Never throws: the operator has checked the placements. */
  static compile(grant: Pick<Grant, 'inject' | 'placeholder'>): Plan {
    // Placeholders last: what they find must be what is sent, not a parameter that is about to be dropped.
    const inOrder = [...grant.inject].sort((a, b) => Number(!!a.placeholder) - Number(!!b.placeholder));
    return new Plan(inOrder.flatMap((placement) => compilePlacement(placement, grant.placeholder)));
  }

  /** What to change of the request; CredentialUnavailable if the material lacks a field or cannot stand where it should. */
  place(lease: Pick<HeldLease, 'memo'>, request: PlaceRequest): Placed | Refusal {
    const { placed, perRequest } = lease.memo(this, this.#prepare);
    if (perRequest.length === 0 || 'kind' in placed) return placed;
    const draft = new Draft(request, placed);
    for (const place of perRequest) {
      const refusal = place(draft);
      if (refusal !== undefined) {
        draft.secrets.destroy();
        return refusal;
      }
    }
    return draft.finish();
  }

  /** Forms of the material that an upstream could echo, each at least 8 bytes long; they are overwritten with the lease. */
  needles(lease: Pick<HeldLease, 'memo'>): readonly Buffer[] {
    return lease.memo(this, this.#prepare).needles;
  }

  readonly #prepare = (material: Material): Ready => {
    const secrets = new SecretBuffers();
    const lines = new Map<string, Buffer>();
    const perRequest: NonNullable<Prepared['place']>[] = [];
    const needles: Buffer[] = [];
    for (const placement of this.#placements) {
      const prepared = placement.prepare(material, secrets);
      if ('kind' in prepared) {
        secrets.destroy();
        return { placed: prepared, perRequest: [], needles: [], destroy() {} };
      }
      const { line, place } = prepared;
      // Of two placements in one field the first stands: a field is never sent twice.
      if (line !== undefined && !lines.has(line.key)) lines.set(line.key, line.bytes);
      if (place !== undefined) perRequest.push(place);
      for (const needle of prepared.needles) if (!needles.some((known) => known.equals(needle))) needles.push(needle);
    }
    const placed: Placed = {
      target: undefined,
      lines: lines.size === 0 ? undefined : secrets.concat([...lines.values()]),
      linesOwned: false,
      omit: new Set([...lines.keys()].flatMap(spellingsOf)),
      body: undefined,
    };
    return { placed, perRequest, needles, destroy: () => secrets.destroy() };
  };
}

/** Dashes up to which every mixture with underscores is listed: 64 of them. */
const MIXED_DASHES_LIMIT = 6;

/** A field name in all the ways that CGI (RFC 3875 section 4.1.18) makes one of: there `_` and `-` are the same. */
function spellingsOf(key: string): string[] {
  const parts = key.split('-');
  if (parts.length - 1 > MIXED_DASHES_LIMIT) return [key, parts.join('_')];
  return parts.reduce<string[]>((heads, part, i) => {
    return i === 0 ? [part] : heads.flatMap((head) => [`${head}-${part}`, `${head}_${part}`]);
  }, []);
}
