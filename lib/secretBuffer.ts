/**
 * A Buffer for secret bytes, zeroed, with memory of its own that stays where it is until it is overwritten.
 *
 * `Buffer.alloc` and `allocUnsafeSlow` put up to 64 bytes into the JavaScript heap, where the garbage collector moves them and
 * leaves copies behind.
 */
export function secretBuffer(bytes: number): Buffer {
  return Buffer.from(new ArrayBuffer(bytes));
}
