export const HTAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SP = 0x20;
export const COLON = 0x3a;

function table(allowed: (octet: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, octet) => (allowed(octet) ? 1 : 0));
}

function tableOf(characters: string): Uint8Array {
  return table((octet) => characters.includes(String.fromCharCode(octet)));
}

const ALPHANUMERIC = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';

/** token (RFC 9110 section 5.6.2). */
export const TOKEN = tableOf(`${ALPHANUMERIC}!#$%&'*+-.^_\`|~`);

/** What a field value or a reason phrase may hold (RFC 9110 section 5.5): HTAB, SP, VCHAR, obs-text. */
export const VALUE = table((octet) => octet === HTAB || (octet >= SP && octet !== 0x7f));

/** What a request target may hold: visible ASCII but the fragment's `#`. */
export const TARGET = table((octet) => octet > SP && octet < 0x7f && octet !== 0x23);

/** What an authority may hold here: names, addresses and a port; no userinfo, no list, nothing percent-encoded. */
export const AUTHORITY = tableOf(`${ALPHANUMERIC}-._:[]`);

/** Whether every character of `text`, which is not empty, is in `octets`. */
export function consistsOf(text: string, octets: Uint8Array): boolean {
  for (let at = 0; at < text.length; at++) {
    // Past 255 there is nothing in the table: such a character would be cut to some other byte on the wire.
    if (octets[text.charCodeAt(at)] !== 1) return false;
  }
  return text.length > 0;
}
