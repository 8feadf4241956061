const ID = '{id}';
/** Longest run of letters and digits that is still taken for a word of the API, such as `responses` or `chatcompletions`. */
const WORD_LIMIT = 20;
/** From this length on hexadecimal digits are an identifier, if there is a decimal digit among them. */
const HEX_LENGTH = 8;
const PATH_LIMIT = 2_048;
const SEGMENTS_LIMIT = 64;

/**
 * The path with `{id}` for each segment that looks like an identifier: digits, UUIDs, hexadecimal or base64 digits in length,
 * vendors' `prefix_ABC123…`. So equal calls are one shape, and what names a person or a document stays out of the audit.
 *
 * A query is not part of the path, and is cut off should there be one. At most 2,048 characters; from the 64th segment on `*`.
 */
export function pathTemplate(path: string): string {
  const query = path.indexOf('?');
  const text = query === -1 ? path : path.slice(0, query);
  // Most paths have neither a digit nor a long segment: one look, nothing made.
  if (text.length <= WORD_LIMIT && !hasDigit(text)) return text;
  const segments = text.split('/', SEGMENTS_LIMIT + 1);
  if (segments.length > SEGMENTS_LIMIT) segments[SEGMENTS_LIMIT] = '*';
  for (let i = 0; i < segments.length; i += 1) if (isIdentifier(segments[i]!)) segments[i] = ID;
  const template = segments.join('/');
  return template.length <= PATH_LIMIT ? template : `${template.slice(0, PATH_LIMIT - 1)}*`;
}

function isIdentifier(segment: string): boolean {
  let digits = 0;
  let hex = 0;
  let dashes = 0;
  let others = 0;
  let capitals = 0;
  for (let i = 0; i < segment.length; i += 1) {
    const code = segment.charCodeAt(i);
    if (code >= 0x30 && code <= 0x39) digits += 1;
    else if ((code >= 0x61 && code <= 0x66) || (code >= 0x41 && code <= 0x46)) hex += 1;
    else if (code === 0x2d) dashes += 1;
    else others += 1;
    if (code >= 0x41 && code <= 0x5a) capitals += 1;
  }
  if (digits > 0 && digits + dashes === segment.length) return true;
  // A UUID, a commit, a hash.
  if (others === 0 && digits > 0 && digits + hex >= HEX_LENGTH) return true;
  return segment.length > WORD_LIMIT && looksRandom(segment, digits, capitals);
}

/** One long run without a break of words, with digits in it or capitals within; percent-encoding counts as both. */
function looksRandom(segment: string, digits: number, capitals: number): boolean {
  if (segment.includes('%')) return true;
  const longest = Math.max(...segment.split(/[-_.~:,@]/).map((run) => run.length));
  return (longest >= 16 && (digits >= 2 || capitals >= 3)) || longest > 32 || digits * 3 >= segment.length;
}

function hasDigit(text: string): boolean {
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code >= 0x30 && code <= 0x39) return true;
  }
  return false;
}
