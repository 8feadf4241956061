import { Fields } from './fields.ts';
import { malformed } from './malformed.ts';
import { COLON, CR, HTAB, LF, SP, TOKEN, VALUE } from './octets.ts';

/**
 * Reads the field lines of `bytes` from `from` to `end` (RFC 9112 section 5), each of which ends with CRLF.
 *
 * `text` is the latin1 of `bytes` from `textStart` on: names and values are cut from it, so that each byte is copied once.
 * @throws MalformedMessage
 */
export function readFieldLines(
  bytes: Buffer,
  text: string,
  textStart: number,
  from: number,
  end: number,
  limit: number,
): Fields {
  const fields = new Fields();
  const { names, keys, values } = fields;
  let at = from;
  while (at < end) {
    if (keys.length === limit) throw malformed(`There are more than ${limit} fields.`);
    const nameStart = at;
    let octet = bytes[at]!;
    while (TOKEN[octet] === 1) octet = bytes[++at]!;
    if (octet !== COLON || at === nameStart) throw nameFault(octet, at === nameStart);
    const nameEnd = at;
    octet = bytes[++at]!;
    while (octet === SP || octet === HTAB) octet = bytes[++at]!;
    const valueStart = at;
    while (VALUE[octet] === 1) octet = bytes[++at]!;
    if (octet !== CR || bytes[at + 1] !== LF) throw lineFault(octet);
    let valueEnd = at;
    while (valueEnd > valueStart && (bytes[valueEnd - 1] === SP || bytes[valueEnd - 1] === HTAB)) valueEnd--;
    at += 2;
    const name = text.substring(nameStart - textStart, nameEnd - textStart);
    names.push(name);
    keys.push(name.toLowerCase());
    values.push(text.substring(valueStart - textStart, valueEnd - textStart));
  }
  if (at !== end) throw malformed('The head does not end with an empty line.');
  return fields;
}

function nameFault(octet: number | undefined, first: boolean): Error {
  if (octet === SP || octet === HTAB) {
    return malformed(
      first ? 'A field is folded over several lines.' : 'White space stands before the colon of a field.',
    );
  }
  if (octet === COLON) return malformed('A field has no name.');
  return octet === CR || octet === LF
    ? malformed('A line of the head is no field.')
    : malformed('A field name is not a token.');
}

/** What is wrong with a line that neither holds `octet` rightly nor ends with it. */
export function lineFault(octet: number | undefined): Error {
  if (octet === LF) return malformed('A line ends with LF alone.');
  if (octet === CR) return malformed('CR stands without LF.');
  return malformed('A control byte stands in the head.');
}
