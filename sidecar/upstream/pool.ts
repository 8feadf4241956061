import type { Clock } from '../../lib/clock.ts';
import type { PooledConnection } from './connection.ts';

/** Shorter than the 5 s after which Node servers, the most impatient in common use, close an idle connection. */
const IDLE_LIMIT_MS = 4_000;
const SWEEP_MS = 1_000;
/** Then a new connection is made, so that changes of DNS and of allowed networks are noticed under steady load too. */
const MAX_AGE_MS = 300_000;

/** Idle connections by id; the one used last goes first, so that surplus ones grow old and close. */
export class Pool {
  readonly #clock: Clock;
  readonly #idle = new Map<string, PooledConnection[]>();
  #count = 0;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get count(): number {
    return this.#count;
  }

  take(id: string): PooledConnection | undefined {
    const list = this.#idle.get(id);
    if (list === undefined) return undefined;
    const nowMs = this.#clock.monotonicMs();
    while (list.length > 0) {
      const connection = list.pop()!;
      this.#count--;
      if (connection.clean && connection.idleUntilMs > nowMs) {
        connection.reused = true;
        connection.lent = true;
        return connection;
      }
      connection.destroy();
    }
    this.#idle.delete(id);
    return undefined;
  }

  /** Keeps the connection for a while, or destroys it. */
  put(connection: PooledConnection, hintSeconds: number | undefined): void {
    const nowMs = this.#clock.monotonicMs();
    // A second less than the upstream says, for what is under way when its time ends.
    const idleMs = hintSeconds === undefined ? IDLE_LIMIT_MS : Math.min(IDLE_LIMIT_MS, hintSeconds * 1_000 - 1_000);
    if (!connection.clean || !(idleMs > 0) || nowMs - connection.openedAtMs > MAX_AGE_MS) {
      connection.destroy();
      return;
    }
    connection.idleUntilMs = nowMs + idleMs;
    if (connection.socket.isPaused()) connection.socket.resume();
    const list = this.#idle.get(connection.id);
    if (list === undefined) this.#idle.set(connection.id, [connection]);
    else list.push(connection);
    this.#count++;
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_MS).unref();
  }

  /** Forgets a connection that closed; it need not be idle. */
  forget(connection: PooledConnection): void {
    const list = this.#idle.get(connection.id);
    const index = list === undefined ? -1 : list.indexOf(connection);
    if (index === -1) return;
    list!.splice(index, 1);
    this.#count--;
    if (list!.length === 0) this.#idle.delete(connection.id);
  }

  /** Destroys one idle connection, to make room. False if there is none. */
  evictOne(): boolean {
    for (const [connection] of this.#idle.values()) {
      if (connection === undefined) continue;
      this.forget(connection);
      connection.destroy();
      return true;
    }
    return false;
  }

  drop(matches: (id: string) => boolean): void {
    for (const [id, list] of this.#idle) {
      if (!matches(id)) continue;
      this.#idle.delete(id);
      this.#count -= list.length;
      for (const connection of list) connection.destroy();
    }
  }

  #sweep(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [id, list] of this.#idle) {
      const kept = list.filter((connection) => connection.idleUntilMs > nowMs);
      if (kept.length === list.length) continue;
      this.#count -= list.length - kept.length;
      if (kept.length === 0) this.#idle.delete(id);
      else this.#idle.set(id, kept);
      for (const connection of list) if (connection.idleUntilMs <= nowMs) connection.destroy();
    }
    if (this.#count > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }
}
