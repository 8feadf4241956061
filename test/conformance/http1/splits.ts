/** Past this all ways to cut a message in two cost more than they tell. */
const ALL_SPLITS_LIMIT_BYTES = 2048;

/** A message whole, cut in two at each place, and byte by byte; one character per byte (latin1). */
export function* splits(message: string): Generator<Buffer[]> {
  const bytes = (): Buffer => Buffer.from(message, 'latin1');
  yield [bytes()];
  const step = Math.max(1, Math.floor(message.length / ALL_SPLITS_LIMIT_BYTES));
  for (let at = 1; at < message.length; at += step) yield [bytes().subarray(0, at), bytes().subarray(at)];
  yield Array.from(message, (character) => Buffer.from(character, 'latin1'));
}

/** The chunks in one piece of memory that is overwritten for the next, as a socket's reader may do it. */
export function* reusing(chunks: Buffer[]): Generator<Buffer> {
  const memory = Buffer.alloc(Math.max(...chunks.map((chunk) => chunk.length)));
  for (const chunk of chunks) {
    memory.fill(0xff);
    chunk.copy(memory);
    yield memory.subarray(0, chunk.length);
  }
}
