import type { Authority } from './authority.ts';

/** How a connection came in, which says where its requests may want to go. */
export type Door =
  | {
      /** The listener itself: a forward proxy and base URLs in one. */
      readonly kind: 'proxy';
      readonly ownPorts: ReadonlySet<number>;
    }
  | {
      /** Redirected here on its way to some address at this port, which is all that is known of where it was going. */
      readonly kind: 'captured';
      readonly port: number;
      readonly ownPorts: ReadonlySet<number>;
    }
  | {
      /** Inside a tunnel: the target of CONNECT, or the SNI and port of a captured connection, with the scheme of what was spoken in it. */
      readonly kind: 'tunnel';
      readonly authority: Authority;
    };
