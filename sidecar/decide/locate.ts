import { type Refusal, refuse } from '../errors.ts';
import type { GrantTable } from '../grants/table.ts';
import type { RequestHead } from '../http1/message.ts';
import { type Authority, authorityText, defaultPort, hostHeader, parseHostPort } from './authority.ts';
import type { Door } from './door.ts';
import { aliasInHost, isOwnListener, isOwnName, leadsToOwnListener } from './ownNames.ts';

/** Where a request goes, computed once (data path rule 1). */
export interface Located {
  readonly authority: Authority;
  /** As sent, without an alias; starts with `/`, or is `*` for OPTIONS. */
  readonly path: string;
  /** With its `?`, or empty. */
  readonly query: string;
  readonly via: 'forward' | 'tunnel' | 'baseURL';
  /** The alias by which the agent named an Integration. */
  readonly alias: string | undefined;
}

/** The parts of a request head that say where it goes. */
export type Addressed = Pick<RequestHead, 'method' | 'target' | 'host'> & Partial<Pick<RequestHead, 'fields'>>;

interface Target {
  /** Undefined in origin-form. */
  readonly authority: Authority | undefined;
  readonly path: string;
  readonly query: string;
}

/** The one authority of a request, or why there is none: AuthorityMismatch, NoAuthority, UnknownAlias, LoopDetected, MalformedRequest. */
export function locate(door: Door, head: Addressed, table: GrantTable): Located | Refusal {
  const target = parseTarget(head);
  if (target === undefined)
    return refuse(
      'MalformedRequest',
      'the request target is neither a path nor an http:// or https:// URL of a plain host',
    );
  switch (door.kind) {
    case 'proxy':
      return atListener(door.ownPorts, target, head, table);
    case 'captured':
      return captured(door, target, head, table);
    case 'tunnel':
      return inTunnel(door.authority, target, head, table);
  }
}

/** As if a client of a proxy had named Host and the port in an absolute-form target. */
function captured(
  { port, ownPorts }: Extract<Door, { kind: 'captured' }>,
  target: Target,
  head: Addressed,
  table: GrantTable,
): Located | Refusal {
  const named = hostOf(head);
  if (named === undefined)
    return refuse(
      'NoAuthority',
      'the connection was captured, and without Host there is no telling where it was going',
    );
  if (named.port !== port)
    return refuse(
      'AuthorityMismatch',
      `Host names ${authorityText(named)}, but the connection was made to port ${port}`,
    );
  const { authority } = target;
  if (authority !== undefined && !(authority.scheme === 'http' && sameHost(authority, named)))
    return mismatch(`the request target names ${authorityText(authority)}`, named, 'Host');
  return atListener(ownPorts, { ...target, authority: named }, head, table);
}

function inTunnel(authority: Authority, target: Target, head: Addressed, table: GrantTable): Located | Refusal {
  const named = target.authority;
  if (named !== undefined && !(named.scheme === authority.scheme && sameHost(named, authority)))
    return mismatch(`the request target names ${authorityText(named)}`, authority, 'the tunnel');
  const disagreement = hostDisagreement(head, authority, 'the tunnel');
  if (disagreement !== undefined) return disagreement;
  // Some clients open a tunnel for plain http too, base URLs included.
  const alias = aliasInHost(authority.host);
  if (alias !== undefined) return byAlias(alias, target.path, target.query, head, table);
  if (isOwnName(authority.host)) return loop(authority);
  return { authority, path: target.path, query: target.query, via: 'tunnel', alias: undefined };
}

function atListener(
  ownPorts: ReadonlySet<number>,
  target: Target,
  head: Addressed,
  table: GrantTable,
): Located | Refusal {
  if (target.authority !== undefined) {
    const disagreement = hostDisagreement(head, target.authority, 'the request target');
    if (disagreement !== undefined) return disagreement;
  }
  const named = target.authority ?? hostOf(head);
  if (named === undefined) return refuse('MalformedRequest', 'Host names no plain host[:port]');
  if (named.scheme === 'http') {
    const alias = aliasInHost(named.host);
    if (alias !== undefined) return byAlias(alias, target.path, target.query, head, table);
    if (isOwnListener(named.host, named.port, ownPorts)) return byFirstSegment(target, head, table);
  }
  if (leadsToOwnListener(named.host, named.port, ownPorts)) return loop(named);
  if (target.authority !== undefined)
    return { authority: target.authority, path: target.path, query: target.query, via: 'forward', alias: undefined };
  return refuse(
    'AuthorityMismatch',
    `the request came to the sidecar itself, but Host names ${authorityText(named)}: use the sidecar as an HTTP proxy, or the base URL of an Integration`,
  );
}

/** `/alias/rest`: what follows the alias is the path. */
function byFirstSegment(target: Target, head: Addressed, table: GrantTable): Located | Refusal {
  const end = target.path.indexOf('/', 1);
  const alias = end === -1 ? target.path.slice(1) : target.path.slice(1, end);
  if (target.path === '*' || alias === '')
    return refuse('UnknownAlias', 'the first segment of the path must be the alias of an Integration');
  return byAlias(alias, end === -1 ? '/' : target.path.slice(end), target.query, head, table);
}

function byAlias(alias: string, path: string, query: string, head: Addressed, table: GrantTable): Located | Refusal {
  if (fromPage(head)) return refuse('CrossSiteRefused', 'a browser sent the request for a page of another site');
  const entry = table.alias(alias);
  if (entry === undefined)
    return refuse('UnknownAlias', `no Integration of this session has the alias ${shortened(alias)}`);
  const authority = entry.primary;
  if (authority === undefined)
    return refuse(
      'UnknownAlias',
      `Integration ${entry.integration} covers wildcard hosts only, so its alias ${alias} leads to none: name the host instead`,
    );
  if (isOwnName(authority.host)) return loop(authority);
  return { authority, path, query, via: 'baseURL', alias };
}

/**
 * Whether a browser says that a page of elsewhere is behind the request (Fetch Metadata; Origin where a browser is too old for that):
 * any page can send requests to loopback, and must not use the credential of an agent on this machine.
 */
function fromPage({ fields, host }: Addressed): boolean {
  if (fields === undefined) return false;
  const site = fields.get('sec-fetch-site');
  if (site !== undefined) return site !== 'none' && site !== 'same-origin';
  const origin = fields.get('origin');
  return origin !== undefined && origin !== `http://${host}`;
}

/** The four forms of RFC 9112 section 3.2, of which authority-form belongs to CONNECT and is not taken here. */
function parseTarget({ method, target }: Addressed): Target | undefined {
  if (method === 'CONNECT' || target.includes('#')) return undefined;
  if (target.charCodeAt(0) === 0x2f /* / */) return split(undefined, target);
  if (target === '*') return method === 'OPTIONS' ? { authority: undefined, path: '*', query: '' } : undefined;
  const start = /^https?:\/\//i.exec(target)?.[0].length;
  if (start === undefined) return undefined;
  const scheme = start === 8 ? 'https' : 'http';
  const slash = indexOrEnd(target, '/', start);
  const end = Math.min(slash, indexOrEnd(target, '?', start));
  const named = parseHostPort(target.slice(start, end), defaultPort(scheme));
  if (named === undefined) return undefined;
  const authority: Authority = { scheme, host: named.host, port: named.port };
  // RFC 9112 section 3.2.4: a URL without a path stands for `*`.
  if (end === target.length) return { authority, path: method === 'OPTIONS' ? '*' : '/', query: '' };
  return split(authority, target.slice(end));
}

function split(authority: Authority | undefined, pathAndQuery: string): Target {
  const question = pathAndQuery.indexOf('?');
  if (question === -1) return { authority, path: pathAndQuery, query: '' };
  // An empty path is `/` (RFC 9110 section 4.2.3).
  return { authority, path: pathAndQuery.slice(0, question) || '/', query: pathAndQuery.slice(question) };
}

function indexOrEnd(text: string, mark: string, from: number): number {
  const index = text.indexOf(mark, from);
  return index === -1 ? text.length : index;
}

/** The authority that Host names to a plaintext listener. */
function hostOf(head: Addressed): Authority | undefined {
  const named = head.host === undefined ? undefined : parseHostPort(head.host, 80);
  return named === undefined ? undefined : { scheme: 'http', host: named.host, port: named.port };
}

/** Why Host does not name the authority; a request of HTTP/1.0 may be without Host. */
function hostDisagreement(head: Addressed, authority: Authority, by: string): Refusal | undefined {
  // Nearly every client writes Host in the one way that we would.
  if (head.host === undefined || head.host === hostHeader(authority)) return undefined;
  const named = parseHostPort(head.host, defaultPort(authority.scheme));
  if (named === undefined) return refuse('MalformedRequest', 'Host names no plain host[:port]');
  return sameHost(named, authority) ? undefined : mismatch(`Host names ${authorityText(named)}`, authority, by);
}

function sameHost(a: Pick<Authority, 'host' | 'port'>, b: Authority): boolean {
  return a.host === b.host && a.port === b.port;
}

function mismatch(what: string, authority: Authority, by: string): Refusal {
  return refuse('AuthorityMismatch', `${what}, but ${by} names ${authority.scheme}://${authorityText(authority)}`);
}

function loop(authority: Authority): Refusal {
  return refuse('LoopDetected', `${authority.scheme}://${authorityText(authority)} is the sidecar itself`);
}

function shortened(text: string): string {
  return text.length <= 63 ? text : `${text.slice(0, 63)}…`;
}
