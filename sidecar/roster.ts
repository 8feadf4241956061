/** Not on a roster. */
export const NO_SEAT = -1;

/** Something that can be on one roster at a time. */
export interface Seated {
  /** The roster's own note of where it has it; `NO_SEAT` at first. */
  seat: number;
}

/**
 * What is open or under way now, each added and removed many thousand times a second.
 *
 * An array and not a Set: a Set is copied every so many removals, and of V8's copies each refers to the next. Once the garbage
 * collector has taken one of them for old, it keeps all that later ones ever held until its next full run: 30 MB of requests that
 * were long over, and a fifth of the CPU.
 */
export class Roster<T extends Seated> {
  readonly #members: T[] = [];

  get size(): number {
    return this.#members.length;
  }

  add(member: T): void {
    if (member.seat !== NO_SEAT) return;
    member.seat = this.#members.length;
    this.#members.push(member);
  }

  /** False if it was not on the roster. */
  delete(member: T): boolean {
    const { seat } = member;
    if (seat === NO_SEAT) return false;
    member.seat = NO_SEAT;
    const last = this.#members.pop()!;
    if (last !== member) {
      this.#members[seat] = last;
      last.seat = seat;
    }
    return true;
  }

  /** Calls back with each that is a member now; the callback may remove any of them, and add others, which are not visited. */
  visit(callback: (member: T) => void): void {
    for (const member of [...this.#members]) if (member.seat !== NO_SEAT) callback(member);
  }
}
