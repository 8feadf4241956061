import type { Authority } from './authority.ts';

/** How a connection came in, which says where its requests may want to go. */
export type Door =
  | {
      /** The listener itself: a forward proxy and base URLs in one. */
      readonly kind: 'proxy';
      readonly ownPorts: ReadonlySet<number>;
    }
  | {
      /** Inside a CONNECT tunnel: its target, with the scheme of what was spoken in it. */
      readonly kind: 'tunnel';
      readonly authority: Authority;
    };
