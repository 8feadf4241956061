import { isIPv4 } from 'node:net';
import { domainToASCII, domainToUnicode } from 'node:url';

/** The one scheme, host and port that a request is for: what is matched, resolved, dialled, verified and written as `Host`. */
export interface Authority {
  readonly scheme: 'http' | 'https';
  /** Lower case; IPv6 in its shortest spelling without brackets; never with a trailing dot. */
  readonly host: string;
  readonly port: number;
}

const HOST_LIMIT = 253;
const LABEL_LIMIT = 63;

export function defaultPort(scheme: Authority['scheme']): number {
  return scheme === 'https' ? 443 : 80;
}

/**
 * Host and port of `host[:port]` (RFC 3986 section 3.2 without userinfo), or undefined if it is anything else.
 *
 * Whatever it accepts means the same to every WHATWG URL parser. What readers could take for different hosts is refused: percent
 * encoding, trailing dots, empty or zero-padded ports, zones, IPv4 in any spelling but four plain decimal numbers.
 * Without `defaultPort` a port must be written.
 */
export function parseHostPort(
  text: string,
  defaultPort: number | undefined,
): { host: string; port: number } | undefined {
  const hostEnd = text.charCodeAt(0) === 0x5b /* [ */ ? text.indexOf(']') + 1 : endOfName(text);
  if (hostEnd === 0) return undefined;
  let port = defaultPort;
  if (hostEnd !== text.length) {
    if (text.charCodeAt(hostEnd) !== 0x3a /* : */) return undefined;
    port = parsePort(text, hostEnd + 1);
  }
  if (port === undefined) return undefined;
  const written = text.slice(0, hostEnd);
  const host = text.charCodeAt(0) === 0x5b ? ipv6(written) : name(written);
  return host === undefined ? undefined : { host, port };
}

/** `host[:port]` as it goes into `Host`: the port only where the scheme does not imply it; IPv6 in brackets. */
export function hostHeader(authority: Authority): string {
  const { scheme, port } = authority;
  return port === defaultPort(scheme) ? bracketed(authority.host) : authorityText(authority);
}

/** `host:port`, always with the port; IPv6 in brackets. */
export function authorityText(authority: Pick<Authority, 'host' | 'port'>): string {
  return `${bracketed(authority.host)}:${authority.port}`;
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** Index after the letters, digits, dashes, underscores and dots at the start; 0 if labels among them are empty or too long. */
function endOfName(text: string): number {
  let at = 0;
  let labelStart = 0;
  for (; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 0x2e /* . */) {
      if (at === labelStart || at - labelStart > LABEL_LIMIT) return 0;
      labelStart = at + 1;
    } else if (!isNameCode(code)) break;
  }
  // An empty last label is a trailing dot: to DNS the same name, to a certificate or a map key another.
  return at === labelStart || at - labelStart > LABEL_LIMIT || at > HOST_LIMIT ? 0 : at;
}

function isNameCode(code: number): boolean {
  const lower = code | 0x20;
  return (lower >= 0x61 && lower <= 0x7a) || isDigit(code) || code === 0x2d /* - */ || code === 0x5f /* _ */;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** 1 to 65535 without leading zeros, to the end of the text. */
function parsePort(text: string, start: number): number | undefined {
  const length = text.length - start;
  if (length < 1 || length > 5 || text.charCodeAt(start) === 0x30) return undefined;
  let port = 0;
  for (let at = start; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (!isDigit(code)) return undefined;
    port = port * 10 + code - 0x30;
  }
  return port <= 65_535 ? port : undefined;
}

function name(written: string): string | undefined {
  const host = written.toLowerCase();
  // Only a last label that begins with a digit can make a host an IPv4 address (WHATWG URL, "ends in a number").
  if (isDigit(host.charCodeAt(host.lastIndexOf('.') + 1)) && endsInNumber(host)) {
    return isIPv4(host) ? host : undefined;
  }
  return host.includes('xn--') && !isValidPunycode(host) ? undefined : host;
}

/** Labels that decode to nothing, or to what is spelled otherwise, are other hosts to some readers or none at all. */
function isValidPunycode(host: string): boolean {
  const unicode = domainToUnicode(host);
  return !/(^|\.)xn--/.test(unicode) && domainToASCII(unicode) === host;
}

function endsInNumber(host: string): boolean {
  return /(^|\.)([0-9]+|0x[^.]*)$/.test(host);
}

function ipv6(written: string): string | undefined {
  if (!/^\[[0-9A-Fa-f:.]+\]$/.test(written)) return undefined;
  return URL.parse(`http://${written}/`)?.hostname.slice(1, -1);
}
