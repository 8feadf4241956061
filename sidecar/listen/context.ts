import type { SidecarDeps } from '../deps.ts';
import type { InFlight } from '../exchange/inFlight.ts';
import type { RefusedConnections } from '../record/refusedConnections.ts';
import type { Seated } from '../roster.ts';
import type { AgentReads } from './agentReads.ts';
import type { ClosedPeers } from './closedPeers.ts';

/** Something that holds a client socket: looked at by the one sweep, instead of having timers of its own. */
export interface Member extends Seated {
  /** Ends what has taken too long. */
  sweep(nowMs: number): void;
  /** No new request from now on; ends if it is idle. */
  drain(): void;
  /** Ends at once. */
  destroy(): void;
}

/** What connections share with the listener they came by. */
export interface ListenContext {
  readonly deps: SidecarDeps;
  readonly inFlight: InFlight;
  readonly closedPeers: ClosedPeers;
  readonly reads: AgentReads;
  readonly refused: RefusedConnections;
  readonly draining: boolean;
  /** Monotonic milliseconds, as of the last sweep: what timeouts are counted from without asking the clock each time. */
  readonly nowMs: number;
  /** TLS handshakes of agents under way or awaited. */
  handshakes: number;
  add(member: Member): void;
  remove(member: Member): void;
}
