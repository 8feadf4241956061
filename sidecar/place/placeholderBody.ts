import { secretBuffer } from '../../lib/secretBuffer.ts';
import { NeedleSet } from '../scrub/needleSet.ts';
import type { BodySubstitution } from './placed.ts';

/** How the material is written into a body. */
export type BodyEncoding = 'raw' | 'percent' | 'json';

/** By content type (RFC 9110 section 8.3): JSON in every dialect, forms, and everything else as it is. */
export function bodyEncodingOf(contentType: string | undefined): BodyEncoding {
  const type = (contentType ?? '').split(';', 1)[0]!.trim().toLowerCase();
  if (type === 'application/x-www-form-urlencoded') return 'percent';
  return /[/+](x-)?(nd)?json(l|lines|-seq)?$/.test(type) ? 'json' : 'raw';
}

/** Replaces a placeholder in a body as it streams; holds back no more than a beginning of the placeholder. */
export class PlaceholderBody implements BodySubstitution {
  readonly #needle: Buffer;
  readonly #needles: NeedleSet;
  readonly #material: Buffer;
  #held: Buffer | undefined;

  /** `placeholder` alone, in an array that stays the same; `material` stays the lease's, each occurrence gets a copy. */
  constructor(placeholder: readonly [Buffer], material: Buffer) {
    this.#needle = placeholder[0];
    this.#needles = NeedleSet.of(placeholder);
    this.#material = material;
  }

  push(piece: Buffer, sink: (piece: Buffer) => void): void {
    const held = this.#held;
    if (held === undefined) {
      this.#replace(piece, sink);
      return;
    }
    this.#held = undefined;
    const size = this.#needle.length;
    const window = Buffer.concat([held, piece.subarray(0, size - 1)]);
    const at = window.indexOf(this.#needle);
    if (at === -1 && piece.length < size) {
      this.#replace(window, sink);
    } else if (at === -1) {
      sink(held);
      this.#replace(piece, sink);
    } else {
      if (at > 0) sink(held.subarray(0, at));
      sink(this.#copy());
      this.#replace(piece.subarray(at + size - held.length), sink);
    }
  }

  flush(sink: (piece: Buffer) => void): void {
    if (this.#held !== undefined) sink(this.#held);
    this.#held = undefined;
  }

  #replace(piece: Buffer, sink: (piece: Buffer) => void): void {
    let from = 0;
    for (let at = piece.indexOf(this.#needle); at !== -1; at = piece.indexOf(this.#needle, from)) {
      if (at > from) sink(piece.subarray(from, at));
      sink(this.#copy());
      from = at + this.#needle.length;
    }
    const rest = from === 0 ? piece : piece.subarray(from);
    const keep = this.#needles.heldSuffix(rest);
    if (keep < rest.length) sink(rest.subarray(0, rest.length - keep));
    if (keep > 0) this.#held = Buffer.from(rest.subarray(rest.length - keep));
  }

  #copy(): Buffer {
    const copy = secretBuffer(this.#material.length);
    this.#material.copy(copy);
    return copy;
  }
}
