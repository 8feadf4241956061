import type { Socket } from 'node:net';
import type { Door } from '../decide/door.ts';
import type { ListenContext } from '../listen/context.ts';
import type { Splice } from './splice.ts';

/** The agent's connection as the exchange on it sees it. */
export interface AgentSide {
  readonly socket: Socket;
  readonly door: Door;
  readonly context: ListenContext;
  /** Whether the agent can send no further request: its FIN has come, and nothing is held. */
  readonly atEnd: boolean;
  /** What was read and nobody wanted yet; it is the caller's from now on. */
  takeHeld(): Buffer | undefined;
  /** Gives back what of it was not the caller's. */
  putBack(rest: Buffer): void;
  /** The exchange reads its body: what is held comes first, then the socket goes on. */
  readOn(): void;
  /** The exchange has written its whole answer. Not reusable: closed once the agent had time to read it. */
  exchangeOver(reusable: boolean): void;
  /** From now on the connection belongs to the splice. */
  switchTo(splice: Splice): void;
  /** Closes so that the agent sees an answer that is cut short; `reset` where its end of file would look like the proper end. */
  abort(reset: boolean): void;
}
