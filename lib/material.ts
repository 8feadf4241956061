import { timingSafeEqual } from 'node:crypto';
import { inspect } from 'node:util';
import { secretBuffer } from './secretBuffer.ts';

const REDACTED = '[material]';

/**
 * Secret bytes of a credential, by field: they cannot become a string by accident, and end when `destroy` is called.
 *
 * The bytes live in Buffers of their own (never in a pool that other data shares). Whoever holds a Material owns it and
 * calls `destroy`, which overwrites them. Printing, interpolating or serialising one throws or yields `[material]`.
 */
export class Material {
  readonly #fields = new Map<string, Buffer>();

  /** Copies `bytes`; the caller may overwrite its own. */
  set(field: string, bytes: Uint8Array): this {
    const own = secretBuffer(bytes.length);
    own.set(bytes);
    this.#fields.get(field)?.fill(0);
    this.#fields.set(field, own);
    return this;
  }

  /** The field's own bytes, not a copy: they are zeroes once the material is destroyed. */
  bytes(field: string): Buffer | undefined {
    return this.#fields.get(field);
  }

  fieldNames(): string[] {
    return [...this.#fields.keys()];
  }

  /** Whether both hold the same fields with the same bytes, compared in constant time per field. */
  equals(other: Material): boolean {
    if (this.#fields.size !== other.#fields.size) return false;
    for (const [field, bytes] of this.#fields) {
      const theirs = other.#fields.get(field);
      if (theirs === undefined || theirs.length !== bytes.length || !timingSafeEqual(bytes, theirs)) return false;
    }
    return true;
  }

  destroy(): void {
    for (const bytes of this.#fields.values()) bytes.fill(0);
    this.#fields.clear();
  }

  toString(): never {
    throw new TypeError('material must not become a string');
  }

  toJSON(): string {
    return REDACTED;
  }

  [Symbol.toPrimitive](): never {
    throw new TypeError('material must not become a string');
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}
