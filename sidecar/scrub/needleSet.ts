/** Byte strings to look for, with what makes that fast; made once per list of them. */
export class NeedleSet {
  static readonly #known = new WeakMap<readonly Buffer[], NeedleSet>();
  /** Bytes of the longest needle; 0 without needles. */
  readonly longest: number;
  readonly #needles: readonly Buffer[];
  /** 1 for each byte that a needle starts with. */
  readonly #first = new Uint8Array(256);

  private constructor(needles: readonly Buffer[]) {
    this.#needles = needles.filter((needle) => needle.length > 0);
    this.longest = needles.reduce((longest, needle) => Math.max(longest, needle.length), 0);
    for (const needle of this.#needles) this.#first[needle[0]!] = 1;
  }

  /** The same for the same array: a plan hands out one array per lease. */
  static of(needles: readonly Buffer[]): NeedleSet {
    let set = NeedleSet.#known.get(needles);
    if (set === undefined) {
      set = new NeedleSet(needles);
      NeedleSet.#known.set(needles, set);
    }
    return set;
  }

  /** Calls `found` with the range of every occurrence, overlapping ones too. */
  find(bytes: Buffer, found: (start: number, end: number) => void): void {
    for (const needle of this.#needles) {
      for (let at = bytes.indexOf(needle); at !== -1; at = bytes.indexOf(needle, at + 1)) found(at, at + needle.length);
    }
  }

  /** Length of the longest suffix of `bytes` that is the beginning of a needle, and not all of it. */
  heldSuffix(bytes: Buffer): number {
    const end = bytes.length;
    for (let at = Math.max(0, end - this.longest + 1); at < end; at++) {
      if (this.#first[bytes[at]!] === 1 && this.#startsNeedle(bytes, at, end)) return end - at;
    }
    return 0;
  }

  #startsNeedle(bytes: Buffer, at: number, end: number): boolean {
    const left = end - at;
    for (const needle of this.#needles) {
      if (needle.length <= left || needle[left - 1] !== bytes[end - 1] || needle[0] !== bytes[at]) continue;
      // The call into native code costs more than these looks; few candidates get as far.
      if (left < 3 || (needle[1] === bytes[at + 1] && needle.compare(bytes, at, end, 0, left) === 0)) return true;
    }
    return false;
  }
}
