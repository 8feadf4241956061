import type { KekStatus } from '../../api/kek.ts';

/** What to do about a store that is sealed, in its own words. */
export function unsealing({ message }: NonNullable<KekStatus['sealed']>): string {
  return `${message} The store looks again by itself, at most 15 s later.`;
}
