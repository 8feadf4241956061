import { NeedleSet } from './needleSet.ts';

const ASTERISK = 0x2a;

/** From the first byte to the one after the last. */
interface Range {
  readonly start: number;
  readonly end: number;
}

const NONE: readonly Range[] = [];

/**
 * Masks the material where an answer echoes it: overwrites it with asterisks, in place, so that no length changes.
 *
 * A body streams through: only what could be the beginning of a needle waits for the next piece.
 */
export class Scrubber {
  readonly #needles: NeedleSet;
  #count = 0;
  /** What was held back, as it came: a copy. */
  #held: Buffer | undefined;
  /** Where the end of a needle reached into what is held. */
  #heldRanges: readonly Range[] = NONE;

  /** Needles that overlap are each found. The array must not change; hand in the same one for the same lease. */
  constructor(needles: readonly Buffer[]) {
    this.#needles = NeedleSet.of(needles);
  }

  /** How many echoes were masked so far. */
  get count(): number {
    return this.#count;
  }

  /** Whether bytes of the body wait for the next piece or `flush`. */
  get holding(): boolean {
    return this.#held !== undefined;
  }

  /** Masks within a whole head, or anything else that is complete. Returns how many echoes there were. */
  head(bytes: Buffer, start = 0, end = bytes.length): number {
    const view = start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end);
    const ranges = this.#find(view, 0);
    mask(view, ranges);
    return ranges.length;
  }

  /** Masks in `piece` itself and gives what is sure to `sink`: views of `piece`, and copies of what was held back. */
  push(piece: Buffer, sink: (piece: Buffer) => void): void {
    const held = this.#held;
    if (held === undefined) {
      this.#give(piece, this.#find(piece, 0), sink);
    } else if (piece.length < this.#needles.longest) {
      const whole = Buffer.concat([held, piece]);
      this.#give(whole, [...this.#heldRanges, ...this.#find(whole, held.length)], sink);
      held.fill(0);
    } else {
      this.#pushAfterHeld(held, piece, sink);
    }
  }

  /** The body is over: gives what is held back. */
  flush(sink: (piece: Buffer) => void): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    mask(held, this.#heldRanges);
    sink(held);
  }

  /** For a piece that is longer than any needle: only its beginning is looked at together with what is held. */
  #pushAfterHeld(held: Buffer, piece: Buffer, sink: (piece: Buffer) => void): void {
    const within = this.#find(piece, 0);
    const window = Buffer.concat([held, piece.subarray(0, this.#needles.longest - 1)]);
    const across = this.#find(window, held.length, held.length);
    window.fill(0);
    mask(held, [...this.#heldRanges, ...across]);
    sink(held);
    const ranges = across.map(({ end }) => ({ start: 0, end: end - held.length }));
    this.#give(piece, ranges.length === 0 ? within : [...ranges, ...within], sink);
  }

  /** Holds back what must be of `piece`, masks `ranges` of it and gives the rest away. */
  #give(piece: Buffer, ranges: readonly Range[], sink: (piece: Buffer) => void): void {
    const keep = this.#needles.heldSuffix(piece);
    const sure = piece.length - keep;
    this.#held = undefined;
    this.#heldRanges = NONE;
    if (keep > 0) {
      // Copied before masking: a needle may begin within another one.
      this.#held = Buffer.allocUnsafeSlow(keep);
      piece.copy(this.#held, 0, sure);
      if (ranges.length > 0) {
        this.#heldRanges = ranges
          .filter(({ end }) => end > sure)
          .map(({ start, end }) => ({ start: Math.max(0, start - sure), end: end - sure }));
      }
    }
    mask(piece, ranges);
    if (sure > 0) sink(keep === 0 ? piece : piece.subarray(0, sure));
  }

  /** Counts and gives the occurrences that end after `after` and start before `before`; what was held was looked at before. */
  #find(bytes: Buffer, after: number, before = bytes.length): readonly Range[] {
    let ranges: Range[] | undefined;
    this.#needles.find(bytes, (start, end) => {
      if (end <= after || start >= before) return;
      ranges ??= [];
      ranges.push({ start, end });
    });
    if (ranges === undefined) return NONE;
    this.#count += ranges.length;
    return ranges;
  }
}

/** Ranges may reach past the end, into the next piece. */
function mask(bytes: Buffer, ranges: readonly Range[]): void {
  for (const { start, end } of ranges) bytes.fill(ASTERISK, start, Math.min(end, bytes.length));
}
