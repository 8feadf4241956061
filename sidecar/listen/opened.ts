import type { Socket } from 'node:net';
import { REFUSALS, type Refusal } from '../errors.ts';
import { refusalAnswer } from '../exchange/refusalAnswer.ts';

/** What goes on with a connection once it is known where it leads. */
export interface Opened {
  /** Takes the socket over. `rest`: what was read of it already; `ended`: the FIN has come as well. */
  take(socket: Socket, rest: Buffer | undefined, ended: boolean): void;
}

/** What a client hears of its tunnel. */
export interface Manners {
  /** Once it stands. */
  readonly established: string;
  /** Instead of it. */
  refusal(refusal: Refusal): Buffer | string;
}

/** Of one who asked for a tunnel by CONNECT. */
export const PROXIED: Manners = {
  established: 'HTTP/1.1 200 Connection Established\r\n\r\n',
  refusal: (refusal) => refusalAnswer(refusal, { headOnly: false, close: true }),
};

/** Fatal alerts of RFC 8446 section 6.2. */
const ACCESS_DENIED = 49;
const INTERNAL_ERROR = 80;

/** Of one whose TLS connection was captured: it knows of no proxy, but can tell its user of an alert. */
export const CAPTURED: Manners = {
  established: '',
  refusal: ({ code }) => Buffer.of(21, 3, 3, 0, 2, 2, REFUSALS[code].status >= 500 ? INTERNAL_ERROR : ACCESS_DENIED),
};
