/** An object is at most some 1.5 MB in etcd; as JSON with what the server adds it may be a few times that. */
const LINE_LIMIT_BYTES = 32 * 1024 * 1024;

/** The lines of a stream; a last one that is not ended is left out, for it is half of one. @throws RangeError if a line is too long */
export async function* linesOf(body: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let parts: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    let from = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, from)) {
      parts.push(chunk.subarray(from, end));
      const line = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
      parts = [];
      length = 0;
      from = end + 1;
      if (line.length > 0) yield line.toString();
    }
    if (from === chunk.length) continue;
    parts.push(chunk.subarray(from));
    length += chunk.length - from;
    if (length > LINE_LIMIT_BYTES) throw new RangeError(`a line is longer than ${LINE_LIMIT_BYTES} bytes`);
  }
}
